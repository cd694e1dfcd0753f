// What sandboxes are made from.
import { get, Refused } from "../api";
import { bytes } from "../words";
import { Card, Copy, Empty, Head, reach, Show, useLoad } from "../pieces/basic";

interface Template { name: string; languages: string[]; packages: string[]; purpose: string; ready: boolean; hint?: string | null; version?: string | null; bytes?: number | null; waiting: number; leased: number; memory_bytes: number }

/** `null` where the service has no such route. */
export async function optional<T>(path: string, signal: AbortSignal): Promise<T | null> {
  try { return await get<T>(path, signal); } catch (error) { if (error instanceof Refused && error.problem.status === 404) return null; throw error; }
}

export function Templates() {
  const templates = useLoad(async (signal) => ({ found: await optional<{ items: Template[] }>("/v1/templates", signal) }), []);
  return (
    <>
      <Head title="Templates" note="What sandboxes are made from: languages, and packages that are there ahead." />
      <Show of={templates}>{({ found }) => found === null ? <Card><Empty title="This service does not list its templates">The command line does, and installs the packages of one.</Empty>{["fireclay template list", "fireclay template build python-data"].map((one) => <div key={one} class="row between" style={{ maxWidth: "480px", margin: "0 auto" }}><code>{one}</code><Copy text={one} label="Copy" /></div>)}</Card>
        : <section class="card" aria-label="Templates"><div class="scroll" ref={reach}><table class="list">
            <thead><tr><th scope="col">Template</th><th scope="col">Languages</th><th scope="col">Packages</th><th scope="col" class="num">On disk</th><th scope="col" class="num">Waiting</th><th scope="col" class="num">In use</th><th scope="col" class="num">Memory held</th></tr></thead>
            <tbody>{found.items.map((one) => <tr key={one.name}>
              <td>{one.name}{one.version && <code class="soft"> {one.version}</code>}<div class="small soft">{one.purpose}</div>{!one.ready && <div class="small"><span class="badge warn">not ready</span> {one.hint}</div>}</td>
              <td>{one.languages.join(", ")}</td><td class="soft">{one.packages.join(", ") || "none"}</td><td class="num">{one.bytes ? bytes(one.bytes) : "–"}</td><td class="num">{one.waiting}</td><td class="num">{one.leased}</td><td class="num">{one.memory_bytes ? bytes(one.memory_bytes) : "–"}</td></tr>)}</tbody></table></div></section>}</Show>
    </>
  );
}
