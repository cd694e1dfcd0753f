// Which machines run what is asked.
import { ask, Refused } from "../api";
import { Card, Copy, Empty, Figure, Head, Outcome, reach, Show, useEvery, useLoad } from "../pieces/basic";
import { clock, count } from "../words";
import { optional } from "./templates";

interface Node { name: string; gateway: boolean; worker: boolean; state: string; version: string; places: number; running: number; queued: number; sessions: number; sessions_max: number; seen_at: string }

/** One that has told nothing for so long is late: it tells of itself every few seconds, and is listed no more after 15. */
const LATE_MS = 8000;

/** What is not as it should be with a node, and what mends it: words, and perhaps a command. `newest` is when the last of all was heard of: clocks of browsers may be wrong. */
function mending(node: Node, newest: number): { why: string; command?: string } | null {
  if (node.state === "cordoned") return { why: "takes no new runs", command: `fireclay nodes uncordon ${node.name}` };
  if (node.state === "draining") return { why: node.gateway ? "takes no new runs" : "ends when its own runs have; one of this name takes runs only after", command: `fireclay nodes uncordon ${node.name}` };
  if (newest - Date.parse(node.seen_at) > LATE_MS) return { why: "is late: see whether it runs and reaches NATS. After 15 seconds it is listed no more." };
  if (node.worker && node.queued > node.places) return { why: "has more waiting than places: start another worker with", command: "fireclay worker" };
  return null;
}

export function Nodes() {
  const nodes = useLoad(async (signal) => {
    // Those who are no administrators are not told of nodes.
    const open = async <T,>(look: Promise<T>) => look.catch((error) => { if (error instanceof Refused && [403, 404].includes(error.problem.status)) return null; throw error; });
    const found = await open(optional<{ items: Node[] }>("/v1/nodes", signal));
    const text = await open(ask("GET", "/metrics", undefined, { signal }).then((answer) => answer.text()));
    const number = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text ?? "")?.[1] ?? 0);
    const version = await (await ask("GET", "/version")).json() as { version: string; image: string };
    return { found, own: text === null ? null : { running: number("fireclay_running"), places: number("fireclay_places"), warm: number("fireclay_pool_idle"), sessions: number("fireclay_sessions") }, version };
  }, []);
  useEvery(5000, nodes.reload);
  return (
    <>
      <Head title="Nodes" note="The machines that run what is asked." />
      <Show of={nodes}>{({ found, own, version }) => (
        <div class="stack">
          <Card title="This machine" actions={<Outcome of="ok" />}><div class="fields">{own && <><Figure label="Running" value={`${own.running} of ${own.places}`} /><Figure label="Warm sandboxes" value={count(own.warm)} /><Figure label="Sessions" value={count(own.sessions)} /></>}<Figure label="Version" value={version.version} /></div></Card>
          {found === null || found.items.length === 0 ? <div class="card"><Empty title="No other node is shown">This service runs everything on its own machine, or you are not its administrator.</Empty></div>
            : <section class="card" aria-label="Nodes"><div class="scroll" ref={reach}><table class="list">
                <thead><tr><th scope="col">Node</th><th scope="col">State</th><th scope="col">Roles</th><th scope="col" class="num">Running</th><th scope="col" class="num">Waiting</th><th scope="col" class="num">Sessions</th><th scope="col" class="num">Heard of</th><th scope="col">Version</th></tr></thead>
                <tbody>{found.items.map((one) => (
                  <tr key={one.name}><th scope="row">{one.name}</th>
                    <td><Outcome of={one.state} /></td><td>{[one.gateway && "gateway", one.worker && "worker"].filter(Boolean).join(", ")}</td>
                    <td class="num">{one.worker ? `${one.running} of ${one.places}` : "–"}</td><td class="num">{count(one.queued)}</td><td class="num">{one.worker ? `${one.sessions} of ${one.sessions_max}` : "–"}</td><td class="num soft">{clock(one.seen_at)}</td><td class="soft">{one.version}</td></tr>
                ))}</tbody></table></div><Mend of={found.items} /></section>}
        </div>
      )}</Show>
    </>
  );
}

function Mend({ of }: { of: Node[] }) {
  const newest = Math.max(...of.map(({ seen_at }) => Date.parse(seen_at)));
  const wrong = of.flatMap((node) => { const found = mending(node, newest); return found ? [{ name: node.name, ...found }] : []; });
  if (wrong.length === 0) return null;
  return <ul class="body stack-8 small plain" role="list" aria-label="To be mended">{wrong.map(({ name, why, command }) => <li key={name}><strong>{name}</strong> {why}{command && <>: <code>{command}</code> <Copy text={command} /></>}</li>)}</ul>;
}
