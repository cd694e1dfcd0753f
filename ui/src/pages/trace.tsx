// One trace: its spans in time and in a tree, and what went in and came out of each.
import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import { get, send, type Language, type RunResult, type Said, type Span, type Trace } from "../api";
import { go, href, setArgs, useRoute } from "../route";
import { bytes, clock, count, dollars, ms } from "../words";
import { Card, Copy, Empty, Head, Outcome, Pairs, problemOf, save, Segment, reach, Show, Tabs, Trouble, useEvery, useLoad } from "../pieces/basic";
import { Code } from "../pieces/code";
import { Json } from "../pieces/json";
import { Markdown } from "../pieces/markdown";
import { Displayed, Egress, Findings, Isolation, Output, Result } from "../pieces/output";
import { keepDraft, type Draft } from "./playground";

export function TracePage({ id }: { id: string }) {
  const loaded = useLoad((signal) => get<Trace>(`/v1/traces/${encodeURIComponent(id)}`, signal), [id]);
  useEvery(1500, () => { if (loaded.data && loaded.data.ended_at === null) loaded.reload(); });
  return <Show of={loaded} lines={10}>{(trace) => <Whole trace={trace} changed={(remark) => loaded.set({ ...trace, remark })} />}</Show>;
}

export interface Flat { span: Span; depth: number }

export function flat(spans: Span[], depth = 0): Flat[] {
  return spans.flatMap((span) => [{ span, depth }, ...flat(span.children, depth + 1)]);
}

/** The span of a run: the innermost that names it. */
export function spanOf(trace: Trace, run: string): Span | null {
  return flat(trace.tree).filter(({ span }) => span.attributes["fireclay.run.id"] === run).pop()?.span ?? null;
}

/** Code, and the span that it went into. */
export interface Ran { code: string; language: string; span: Span }

function codeIn(span: Span, usual?: string | null): Ran | null {
  const language = span.input?.text ? languageOf(span.input.media_type) || usual : null;
  return language ? { code: span.input!.text!, language, span } : null;
}

/** The code that a run of a trace ran; of its first span that has some, where no run is named. */
export function codeOf(trace: Trace, run?: string): Ran | null {
  const usual = trace.kind === "run" ? trace.language ?? "python" : null;
  if (run) { const own = spanOf(trace, run); return own && codeIn(own, usual); }
  for (const { span } of flat(trace.tree)) { const found = codeIn(span, usual); if (found) return found; }
  return null;
}

// Types of programs, as the service calls them and as others do; the longer name before the one that it begins with.
const TYPES: [RegExp, Language][] = [[/python/, "python"], [/typescript/, "typescript"], [/javascript|ecmascript/, "javascript"], [/shell|x-sh$|bash/, "bash"], [/x-c\+\+/, "cpp"], [/x-c(src)?$/, "c"], [/rust/, "rust"], [/x-go$/, "go"], [/x-java$/, "java"], [/ruby/, "ruby"], [/perl/, "perl"], [/php/, "php"], [/x-r$/, "r"]];

export function languageOf(media: string): Language | "" {
  return TYPES.find(([pattern]) => pattern.test(media))?.[1] ?? "";
}

/** What the playground needs to ask for the same again, and what of it the trace does not tell. */
export function draftOf({ code, language, span }: Ran): Partial<Draft> {
  const said = span.attributes as Record<string, any>;
  const { timeout_ms, memory_bytes, ...limits } = (said["fireclay.limits"] ?? {}) as Record<string, number>;
  const many = (name: string, word: string) => { const number = said[`fireclay.${name}.count`]; return number ? `${number} ${word}${number > 1 ? "s" : ""}` : ""; };
  const more: Record<string, unknown> = {};
  if (said["fireclay.check_policy"] !== undefined) more.check_policy = said["fireclay.check_policy"];
  return {
    code, language: language as Language, stdin: said["fireclay.stdin"] ?? "", packages: (said["fireclay.packages"] ?? []).join(" "), auto: said["fireclay.auto_packages"] === true, offline: said["fireclay.offline"] === true, python: said["fireclay.python"] ?? "", template: said["fireclay.template"] ?? "", hosts: (said["fireclay.egress.hosts"] ?? []).join(" "),
    timeout: timeout_ms ? String(timeout_ms / 1000) : "", memory: memory_bytes ? String(memory_bytes / 2 ** 20) : "", check: said["fireclay.check"] ?? "", review: said["fireclay.review"] === true, limits, more,
    missing: [many("files", "input file"), many("env", "environment variable"), many("args", "argument"), said["fireclay.stdin.truncated"] ? "the end of its standard input" : "", said["fireclay.session.id"] ? "the state of its session" : ""].filter(Boolean),
  };
}

function Whole({ trace, changed }: { trace: Trace; changed: (remark: string | null) => void }) {
  const { args } = useRoute();
  const spans = useMemo(() => flat(trace.tree), [trace]);
  const [way, choose] = useState<"fall" | "tree">("fall");
  const run_id = args.get("run");
  const picked = spans.find(({ span }) => span.id === args.get("span"))?.span ?? (run_id ? spanOf(trace, run_id) : null) ?? spans[0]?.span ?? null;
  const run = useLoad((signal) => (trace.kind === "run" && trace.ended_at && !trace.imported ? get<RunResult>(`/v1/runs/${trace.of}`, signal).catch(() => null) : Promise.resolve(null)), [trace.id, trace.ended_at]);
  // That of the step which is looked at, else the first that there is.
  const code = (picked && codeIn(picked)) ?? codeOf(trace);
  const [refused, refuse] = useState(false);
  const rerun = () => {
    if (!code) return;
    if (code.span.input?.truncated) return refuse(true);
    keepDraft(draftOf(code));
    go(`${href("play")}?draft=1`);
  };
  return (
    <>
      <Head title={<span class="row">{trace.name} <Outcome of={trace.outcome ?? "running"} /></span>} note={<span class="mono small">{trace.id}</span>}>
        <a class="button" href={href("traces")}>All traces</a>
        <button onClick={() => save(`trace-${trace.id}.json`, new Blob([JSON.stringify(trace, null, 2)], { type: "application/json" }))}>Save</button>
        <button class="primary" disabled={!code} onClick={rerun}>Rerun with changes</button>
      </Head>
      <div class="stack">
        {refused && <div class="note warn" role="alert"><strong>It cannot be run again from here.</strong> Its code has {bytes(code?.span.input?.bytes ?? 0)}, and this trace shows only the beginning. <span class="soft">The settings <code>traces.bytes_max</code> and <code>traces.content</code> say how much of a text is shown.</span></div>}
        <div class="tiles">
          <Tile label="Took">{ms(trace.duration_ms)}</Tile><Tile label="Began">{clock(trace.started_at)}</Tile><Tile label="Spans">{count(spans.length)}</Tile>
          {(trace.tokens_in !== null || trace.tokens_out !== null) && <Tile label="Tokens in / out">{count(trace.tokens_in)} / {count(trace.tokens_out)}</Tile>}
          {trace.cost_usd !== null && <Tile label="Cost">{dollars(trace.cost_usd)}</Tile>}
          {run.data && <Tile label="Memory, peak">{bytes(run.data.usage.memory_peak_bytes)}</Tile>}
        </div>
        <Card title="Steps" flush actions={<Segment label="Show steps as" options={[["fall", "Waterfall"], ["tree", "Tree"]]} value={way} choose={choose} />}>
          {spans.length === 0 ? <Empty title="No steps">None were recorded, or they were removed.</Empty> : way === "fall" ? <Fall spans={spans} whole={trace.duration_ms} picked={picked} /> : <Tree spans={spans} picked={picked} />}
        </Card>
        {picked && <SpanOf key={picked.id} span={picked} />}
        {run.data && <RunOf run={run.data} />}
        <div class="two">
          <Card title="About"><Pairs of={[["Of", <a class="mono" href={trace.kind === "session" ? href("sessions", trace.of) : trace.kind === "task" ? href("agent", trace.of) : `${href("traces")}?of=${trace.of}`}>{trace.of}</a>], ["Tenant", trace.tenant], ["Language", trace.language], ["Model", trace.model], ["Ended", clock(trace.ended_at)], ["Imported", trace.imported ? "yes" : null]]} /></Card>
          <Remark trace={trace} changed={changed} />
        </div>
      </div>
    </>
  );
}

function Tile({ label, children }: { label: string; children: ComponentChildren }) {
  return <div class="figure"><span>{label}</span><b>{children}</b></div>;
}

function Fall({ spans, whole, picked }: { spans: Flat[]; whole: number | null; picked: Span | null }) {
  const length = Math.max(whole ?? 0, ...spans.map(({ span }) => span.offset_ms + (span.duration_ms ?? 0)), 0.001);
  return (
    <div class="fall">
      <div class="fall-scale" aria-hidden="true"><span /><div><span>0</span><span>{ms(length / 2)}</span><span>{ms(length)}</span></div></div>
      {spans.slice(0, 1000).map(({ span, depth }) => {
        const left = (span.offset_ms / length) * 100;
        const width = ((span.duration_ms ?? length - span.offset_ms) / length) * 100;
        const late = left + width > 78, inside = width > 60;
        return (
          <button key={span.id} class="fall-row" aria-pressed={picked?.id === span.id} onClick={() => setArgs({ span: span.id })}>
            <span class="clip" style={{ paddingLeft: `${Math.min(depth, 8) * 14}px` }}>{span.name}</span>
            <span class="lane"><span class={`bar ${span.kind} ${span.status}`} style={{ left: `${left}%`, width: `${Math.max(width, 0.2)}%` }} /><span class={inside ? "ms inside" : "ms"} style={inside ? { right: `${100 - left - width}%` } : late ? { right: `${100 - left}%` } : { left: `${left + width}%` }}>{ms(span.duration_ms)}</span></span>
            {span.status === "error" && <span class="hidden-text">failed</span>}
          </button>
        );
      })}
    </div>
  );
}

function Tree({ spans, picked }: { spans: Flat[]; picked: Span | null }) {
  return (
    <div class="scroll" ref={reach}><table class="list"><thead><tr><th scope="col">Step</th><th scope="col">State</th><th scope="col" class="num">Began</th><th scope="col" class="num">Took</th></tr></thead>
      <tbody>{spans.slice(0, 1000).map(({ span, depth }) => (
        <tr key={span.id}><td style={{ paddingLeft: `${16 + Math.min(depth, 8) * 20}px` }}><button class="quiet small" aria-pressed={picked?.id === span.id} onClick={() => setArgs({ span: span.id })}>{span.name}</button></td>
          <td>{span.status === "error" ? <Outcome of="failed" /> : <span class="soft">{span.status === "ok" ? "ok" : "–"}</span>}</td><td class="num">+{ms(span.offset_ms)}</td><td class="num">{ms(span.duration_ms)}</td></tr>
      ))}</tbody></table></div>
  );
}

function SpanOf({ span }: { span: Span }) {
  const sides: ["input" | "output" | "more", string, number?][] = [["input", "Input"], ["output", "Output"], ["more", "Attributes", Object.keys(span.attributes).length + span.events.length]];
  const [side, choose] = useState<"input" | "output" | "more">(span.input ? "input" : span.output ? "output" : "more");
  return (
    <Card title={span.name} flush actions={<span class="soft small">{span.kind} · {ms(span.duration_ms)} · from +{ms(span.offset_ms)}</span>}>
      {span.message && <div class="body"><div class="note bad">{span.message}</div></div>}
      <Tabs label="Of this step" options={sides} value={side} choose={choose} />
      {side === "more" ? <div class="body stack"><Json value={span.attributes} open={3} />{span.events.length > 0 && <div class="stack-8"><h3>Events</h3>{span.events.map((one, at) => <div key={at}><b>{one.name}</b> <span class="soft small">{clock(one.at)}</span><Json value={one.attributes} /></div>)}</div>}</div>
        : <SaidOf said={side === "input" ? span.input : span.output} what={side} />}
    </Card>
  );
}

/** An input or an output, as what its type says it is. */
function SaidOf({ said, what }: { said: Said | null; what: string }) {
  if (!said) return <div class="body soft">No {what} was recorded.</div>;
  if (said.text === null) return <div class="body soft">{said.media_type}, {bytes(said.bytes)}: not kept as text.</div>;
  const language = languageOf(said.media_type);
  const json = /json/.test(said.media_type) ? parsed(said.text) : undefined;
  return (
    <div>
      {language ? <Code text={said.text} language={language} />
        : json !== undefined ? <div class="body"><Json value={json} open={3} /></div>
        : /markdown/.test(said.media_type) ? <div class="body"><Markdown text={said.text} /></div>
        : /^image\/|text\/html/.test(said.media_type) ? <div class="body"><Displayed bundle={{ [said.media_type]: said.text }} label={what} /></div>
        : <div class="body"><Output heard={[{ from: "stdout", text: said.text }]} /></div>}
      <div class="row between small soft" style={{ padding: "4px 16px 8px" }}><span>{said.media_type} · {bytes(said.bytes)}{said.truncated && " · cut"}</span><Copy text={said.text} /></div>
    </div>
  );
}

function parsed(text: string): unknown {
  try { return JSON.parse(text); } catch { return undefined; }
}

function RunOf({ run }: { run: RunResult }) {
  const [tab, choose] = useState<"result" | "isolation" | "findings" | "egress">("result");
  return (
    <Card title="The run" flush>
      <Tabs label="Of the run" options={[["result", "Result"], ["isolation", "Isolation", run.isolation.layers.length], ["findings", "Findings", run.findings.length], ["egress", "Egress", run.egress.length]]} value={tab} choose={choose} />
      <div class="body">
        {tab === "result" && <Result result={run} />}
        {tab === "isolation" && <Isolation of={run.isolation} />}
        {tab === "findings" && (run.findings.length ? <Findings of={run.findings} /> : <p class="soft">The static check found nothing.</p>)}
        {tab === "egress" && (run.egress.length ? <Egress of={run.egress} /> : <p class="soft">It tried to reach nothing.</p>)}
      </div>
    </Card>
  );
}

function Remark({ trace, changed }: { trace: Trace; changed: (remark: string | null) => void }) {
  const [text, set] = useState(trace.remark ?? "");
  const [problem, tell] = useState<ReturnType<typeof problemOf> | null>(null);
  const keep = async (event: Event) => {
    event.preventDefault();
    try { await send("PATCH", `/v1/traces/${trace.id}`, { remark: text.trim() || null }); changed(text.trim() || null); tell(null); } catch (error) { tell(problemOf(error)); }
  };
  return (
    <Card title="Remark"><form class="stack-8" onSubmit={keep}>
      <textarea aria-label="Remark" rows={2} maxLength={200} placeholder="What you found out about it" value={text} onInput={(event) => set(event.currentTarget.value)} />
      <div class="row between"><span class="small soft">{text.length} of 200</span><button disabled={text.trim() === (trace.remark ?? "")}>Keep</button></div>{problem && <Trouble problem={problem} />}
    </form></Card>
  );
}
