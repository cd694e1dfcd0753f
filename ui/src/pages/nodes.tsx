// Which machines run what is asked.
import { ask } from "../api";
import { Card, Empty, Figure, Head, Outcome, reach, Show, useLoad } from "../pieces/basic";
import { count } from "../words";
import { optional } from "./templates";

interface Node { id: string; name?: string; state?: string; address?: string; running?: number; places?: number; version?: string }

export function Nodes() {
  const nodes = useLoad(async (signal) => {
    const found = await optional<{ items: Node[] }>("/v1/nodes", signal);
    const text = await (await ask("GET", "/metrics", undefined, { signal })).text();
    const number = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
    const version = await (await ask("GET", "/version")).json() as { version: string; image: string };
    return { found, own: { running: number("fireclay_running"), places: number("fireclay_places"), warm: number("fireclay_pool_idle"), sessions: number("fireclay_sessions") }, version };
  }, []);
  return (
    <>
      <Head title="Nodes" note="The machines that run what is asked." />
      <Show of={nodes}>{({ found, own, version }) => (
        <div class="stack">
          <Card title="This machine" actions={<Outcome of="ok" />}><div class="fields"><Figure label="Running" value={`${own.running} of ${own.places}`} /><Figure label="Warm sandboxes" value={count(own.warm)} /><Figure label="Sessions" value={count(own.sessions)} /><Figure label="Version" value={version.version} /></div></Card>
          {found === null || found.items.length === 0 ? <div class="card"><Empty title="There is no other node">This service runs everything on its own machine.</Empty></div>
            : <section class="card" aria-label="Nodes"><div class="scroll" ref={reach}><table class="list"><thead><tr><th scope="col">Node</th><th scope="col">State</th><th scope="col">Address</th><th scope="col" class="num">Running</th><th scope="col">Version</th></tr></thead><tbody>{found.items.map((one) => <tr key={one.id}><td>{one.name ?? one.id}</td><td><Outcome of={one.state ?? "ok"} /></td><td class="mono soft">{one.address ?? "–"}</td><td class="num">{one.running ?? "–"}{one.places ? ` of ${one.places}` : ""}</td><td class="soft">{one.version ?? "–"}</td></tr>)}</tbody></table></div></section>}
        </div>
      )}</Show>
    </>
  );
}
