// How it goes: how much ran and what became of it, how fast, at what cost, and what the machine has left.
import { ask, get, query, type TraceSummary } from "../api";
import { href, setArgs, useRoute } from "../route";
import { bytes, clock, count, dollars, ms, spoken } from "../words";
import { Card, Empty, Figure, Head, Outcome, Segment, reach, Show, useEvery, useLoad } from "../pieces/basic";
import { Chart } from "../pieces/chart";

const SPANS = { "15m": [15 * 60, 30, "15 min"], "1h": [3600, 60, "1 hour"], "24h": [86_400, 96, "24 hours"], "7d": [604_800, 84, "7 days"] } as const;
type Reach = keyof typeof SPANS;
const COLOURS = ["--bar-3", "--bar-1", "--bar-2", "--bar-4", "--bar-5", "--bad"];

export function Overview() {
  const { args } = useRoute();
  const reach = (args.get("span") ?? "1h") as Reach;
  const [seconds, buckets] = SPANS[reach] ?? SPANS["1h"];
  const summary = useLoad((signal) => get<TraceSummary>(`/v1/traces/summary${query({ since: new Date(Date.now() - seconds * 1000).toISOString(), buckets })}`, signal), [reach]);
  const gauges = useLoad(async (signal) => readings(await (await ask("GET", "/metrics", undefined, { signal })).text()), []);
  useEvery(5000, () => { summary.reload(); gauges.reload(); });
  return (
    <>
      <Head title="Overview"><Segment label="Span of time" options={(Object.keys(SPANS) as Reach[]).map((one) => [one, SPANS[one][2]] as const)} value={reach} choose={(one) => setArgs({ span: one === "1h" ? null : one })} /></Head>
      <div class="stack">
        <Show of={summary} lines={6}>{(told) => <Told told={told} minutes={seconds / buckets / 60} />}</Show>
        {gauges.data && <Gauges of={gauges.data} />}
      </div>
    </>
  );
}

function Told({ told, minutes }: { told: TraceSummary; minutes: number }) {
  const outcomes = Object.entries(told.by_outcome).sort((a, b) => Number(b[0] === "completed") - Number(a[0] === "completed") || b[1] - a[1]).map(([name]) => name);
  // The last colour is of all that have none of their own.
  const own = outcomes.length > COLOURS.length ? COLOURS.length - 1 : outcomes.length;
  const parts = outcomes.slice(0, own).map((name) => ({ label: spoken(name), names: [name], to: `${href("traces")}?outcome=${name}` }));
  if (own < outcomes.length) parts.push({ label: "others", names: outcomes.slice(own), to: href("traces") });
  const sum = (names: string[], by: Record<string, number>) => names.reduce((all, name) => all + (by[name] ?? 0), 0);
  const settled = Object.values(told.by_outcome).reduce((sum, one) => sum + one, 0);
  const times = told.buckets.map((one) => Date.parse(one.at) / 1000);
  const rate = (value: number) => (value >= 10 || Number.isInteger(value) ? count(Math.round(value)) : value.toFixed(1));
  if (told.total === 0) return <div class="card"><Empty title="Nothing ran in this time" actions={<><a class="button" href={href("play")}>Open the playground</a><a class="button" href="/docs">API reference</a></>}>Rates, latencies and costs appear as soon as something runs.</Empty></div>;
  return (
    <>
      <div class="tiles">
        <Figure label="Traces" value={count(told.total)} /><Figure label="Running now" value={count(told.running)} /><Figure label="Ended well" value={settled ? `${((told.well / settled) * 100).toFixed(told.well === settled ? 0 : 1)} %` : "–"} />
        <Figure label="Median" value={ms(told.duration_ms.p50)} /><Figure label="99th percentile" value={ms(told.duration_ms.p99)} /><Figure label="Cost" value={dollars(told.cost_usd)} />
      </div>
      <div class="two">
        <Card title="Per minute, by outcome"><div class="stack-8"><Chart label="Traces per minute by outcome" bars times={times} unit={rate} lines={parts.map(({ label, names }, at) => ({ label, colour: COLOURS[at]!, values: told.buckets.map((one) => sum(names, one.by_outcome) / minutes) }))} />
          <div class="legend">{parts.map(({ label, names, to }, at) => <a key={label} class="soft" href={to} title={names.length > 1 ? names.map(spoken).join(", ") : undefined}><i class={`k${at}`} />{label} {count(sum(names, told.by_outcome))}</a>)}</div></div></Card>
        <Card title="Latency"><div class="stack-8"><Chart label="Latency" times={times} unit={ms} lines={[{ label: "99th percentile", colour: "--bar-1", values: told.buckets.map((one) => one.p99) }, { label: "median", colour: "--bar-2", values: told.buckets.map((one) => one.p50) }]} />
          <div class="legend"><span><i class="k1" />99th percentile</span><span><i class="k2" />median</span></div></div></Card>
      </div>
      <div class="two">
        <Card title="Failed lately" flush>{told.failed_lately.length === 0 ? <div class="body soft">Nothing failed in this time.</div> : <div class="scroll" ref={reach}><table class="list"><thead><tr><th scope="col">Outcome</th><th scope="col">What</th><th scope="col" class="num">When</th></tr></thead><tbody>{told.failed_lately.map((row) => <tr key={row.id}><td><Outcome of={row.outcome ?? "failed"} /></td><td><div><a href={href("traces", row.id)}>{row.name}</a></div><code class="soft small">{row.output_preview.slice(0, 60)}</code></td><td class="num soft">{clock(row.started_at)}</td></tr>)}</tbody></table></div>}</Card>
        <Card title="Models" flush>{told.models.length === 0 ? <div class="body soft">No model was asked in this time.</div> : <div class="scroll" ref={reach}><table class="list"><thead><tr><th scope="col">Model</th><th scope="col" class="num">Calls</th><th scope="col" class="num">Tokens</th><th scope="col" class="num">Mean</th><th scope="col" class="num">Cost</th></tr></thead><tbody>{told.models.map((one) => <tr key={one.model}><td class="mono">{one.model}</td><td class="num">{count(one.calls)}{one.failed > 0 && <span class="bad"> ({one.failed} failed)</span>}</td><td class="num">{count(one.tokens_in + one.tokens_out)}</td><td class="num">{ms(one.duration_ms_mean)}</td><td class="num">{dollars(one.cost_usd)}</td></tr>)}</tbody></table></div>}</Card>
      </div>
    </>
  );
}

type Readings = Record<string, number>;

/** The gauges of Prometheus' text format that have no labels. */
function readings(text: string): Readings {
  return Object.fromEntries(text.split("\n").flatMap((line) => { const found = /^(fireclay_[a-z_]+) ([0-9.eE+-]+)$/.exec(line); return found ? [[found[1]!, Number(found[2])]] : []; }));
}

function Gauges({ of }: { of: Readings }) {
  const part = (name: string, most: string) => Math.min(100, ((of[name] ?? 0) / Math.max(1, of[most] ?? 0)) * 100);
  const meter = (percent: number) => <span class="meter" aria-hidden="true"><i style={{ width: `${percent}%` }} /></span>;
  return (
    <Card title="The machine">
      <div class="fields">
        <Figure label="Places in use" value={`${of.fireclay_running ?? 0} of ${of.fireclay_places ?? 0}`}>{meter(part("fireclay_running", "fireclay_places"))}</Figure>
        <Figure label="Warm sandboxes ready" value={`${of.fireclay_pool_idle ?? 0} of ${of.fireclay_pool_target ?? 0}`}>{meter(part("fireclay_pool_idle", "fireclay_pool_target"))}</Figure>
        <Figure label="Waiting" value={count(of.fireclay_queued ?? 0)} /><Figure label="Open sessions" value={count(of.fireclay_sessions ?? 0)} />
        <Figure label="Memory to be had" value={bytes(of.fireclay_memory_available_bytes ?? 0)} />
        <Figure label="Records" value={bytes(of.fireclay_store_bytes ?? 0)} /><Figure label="Files of runs" value={bytes(of.fireclay_artifact_bytes ?? 0)} />
      </div>
    </Card>
  );
}
