// Two traces beside each other: what took how long, and what differs in code and output.
import { get, type Trace } from "../api";
import { href, useRoute } from "../route";
import { clock, dollars, ms } from "../words";
import { Card, Empty, Head, Outcome, reach, Show, useLoad } from "../pieces/basic";
import { codeOf, flat } from "./trace";

export function Compare() {
  const { args } = useRoute();
  const [a, b] = [args.get("a"), args.get("b")];
  const both = useLoad((signal) => Promise.all([a, b].map((id) => get<Trace>(`/v1/traces/${encodeURIComponent(id ?? "")}`, signal))), [a, b]);
  if (!a || !b) return <><Head title="Compare" /><div class="card"><Empty title="Choose two traces" actions={<a class="button" href={href("traces")}>Traces</a>}>Tick two in the list, then press “Compare two”.</Empty></div></>;
  return <><Head title="Compare"><a class="button" href={href("traces")}>All traces</a></Head><Show of={both}>{([one, other]) => <Beside one={one!} other={other!} />}</Show></>;
}

function Beside({ one, other }: { one: Trace; other: Trace }) {
  const steps = [...new Set([one, other].flatMap((trace) => flat(trace.tree).map(({ span }) => span.name)))];
  const took = (trace: Trace, name: string) => { const found = flat(trace.tree).filter(({ span }) => span.name === name); return found.length ? found.reduce((sum, { span }) => sum + (span.duration_ms ?? 0), 0) : null; };
  const text = (trace: Trace, side: "input" | "output") => (side === "input" ? codeOf(trace)?.code : null) ?? flat(trace.tree).map(({ span }) => span[side]?.text).find(Boolean) ?? "";
  return (
    <div class="stack">
      <Card flush label="Figures"><div class="scroll" ref={reach}><table class="list"><thead><tr><th scope="col"><span class="hidden-text">What</span></th>{[one, other].map((trace, at) => <th key={at} scope="col" class="num"><a href={href("traces", trace.id)}>{trace.name}, {clock(trace.started_at)}</a></th>)}<th scope="col" class="num">Difference</th></tr></thead>
        <tbody>
          <tr><th scope="row">Outcome</th>{[one, other].map((trace, at) => <td key={at} class="num"><Outcome of={trace.outcome ?? "running"} /></td>)}<td class="num">{one.outcome === other.outcome ? "same" : "differs"}</td></tr>
          <tr><th scope="row">Cost</th><td class="num">{dollars(one.cost_usd)}</td><td class="num">{dollars(other.cost_usd)}</td><td /></tr>
          <tr><th scope="row">Whole</th><td class="num">{ms(one.duration_ms)}</td><td class="num">{ms(other.duration_ms)}</td><td class="num">{change(one.duration_ms, other.duration_ms)}</td></tr>
          {steps.map((name) => <tr key={name}><th scope="row">{name}</th><td class="num">{ms(took(one, name))}</td><td class="num">{ms(took(other, name))}</td><td class="num">{change(took(one, name), took(other, name))}</td></tr>)}
        </tbody></table></div></Card>
      {(["input", "output"] as const).map((side) => <Card key={side} title={side === "input" ? "Code" : "Output"} flush><Diff from={text(one, side)} to={text(other, side)} /></Card>)}
    </div>
  );
}

function change(from: number | null, to: number | null): string {
  if (from === null || to === null) return "–";
  const by = to - from;
  return `${by > 0 ? "+" : by < 0 ? "−" : ""}${ms(Math.abs(by))}`;
}

/** Lines that went and lines that came, by the longest common subsequence; of long texts, the first lines. */
export function difference(from: string[], to: string[]): [" " | "+" | "-", string][] {
  const rows = Array.from({ length: from.length + 1 }, () => new Uint16Array(to.length + 1));
  for (let a = from.length - 1; a >= 0; a -= 1) for (let b = to.length - 1; b >= 0; b -= 1) rows[a]![b] = from[a] === to[b] ? rows[a + 1]![b + 1]! + 1 : Math.max(rows[a + 1]![b]!, rows[a]![b + 1]!);
  const found: [" " | "+" | "-", string][] = [];
  let a = 0, b = 0;
  while (a < from.length || b < to.length) {
    if (a < from.length && b < to.length && from[a] === to[b]) { found.push([" ", from[a]!]); a += 1; b += 1; }
    else if (a < from.length && (b >= to.length || rows[a + 1]![b]! >= rows[a]![b + 1]!)) { found.push(["-", from[a]!]); a += 1; }
    else { found.push(["+", to[b]!]); b += 1; }
  }
  return found;
}

function Diff({ from, to }: { from: string; to: string }) {
  if (from === to) return <div class="body soft">{from ? "The same in both." : "None was recorded."}</div>;
  const lines = difference(from.split("\n").slice(0, 1000), to.split("\n").slice(0, 1000));
  return <div class="diff" tabIndex={0} aria-label="What differs">{lines.map(([sign, line], at) => <div key={at} class={sign === "+" ? "plus" : sign === "-" ? "minus" : undefined}>{sign} {line}</div>)}</div>;
}
