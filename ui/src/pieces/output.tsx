// What programs say and show. All of it is hostile: text is only ever text, HTML goes into a frame that can do nothing, pictures are
// pictures.
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { ask, type Artifact, type Bundle, type EgressAttempt, type Finding, type GuestError, type RunResult } from "../api";
import { Ansi } from "../ansi";
import { bytes, ms, count } from "../words";
import { Pairs, reach, save, Segment } from "./basic";
import { Code } from "./code";
import { Json } from "./json";
import { Markdown } from "./markdown";

/** A part of a program's output, in the order it was written. */
export interface Heard { from: "stdout" | "stderr"; text: string }

/** More than this is not laid out at once. */
const SHOWN_MAX = 400_000;
const HEAD = 50_000;

/** Output as it is read: colours kept, everything else of a terminal dropped. */
export function Output({ heard, name = "output.txt" }: { heard: Heard[]; name?: string }) {
  const [whole, show] = useState(false);
  const length = heard.reduce((sum, part) => sum + part.text.length, 0);
  if (length === 0) return null;
  const keep = () => save(name, new Blob(heard.map((part) => part.text), { type: "text/plain" }));
  if (length <= SHOWN_MAX) return <div class="out" tabIndex={length > 20_000 ? 0 : undefined}><Text heard={heard} /></div>;
  const cut = whole ? [heard] : [slice(heard, 0, HEAD), slice(heard, length - HEAD, length)];
  return (
    <div class="stack-8">
      <div class="row small soft"><span class="grow">{bytes(length)} of output{whole ? "" : `; its beginning and its end are shown`}</span>
        {!whole && <button class="small" onClick={() => show(true)}>Show all</button>}<button class="small" onClick={keep}>Save as a file</button></div>
      <div class="out"><Text heard={cut[0]!} plain={whole} /></div>
      {cut[1] && <><div class="note small soft">{count(length - 2 * HEAD)} characters left out</div><div class="out"><Text heard={cut[1]} /></div></>}
    </div>
  );
}

function slice(heard: Heard[], from: number, to: number): Heard[] {
  let at = 0;
  return heard.flatMap((part) => {
    const begin = Math.max(0, from - at), end = Math.min(part.text.length, to - at);
    at += part.text.length;
    return begin < end ? [{ ...part, text: part.text.slice(begin, end) }] : [];
  });
}

function Text({ heard, plain }: { heard: Heard[]; plain?: boolean }) {
  const parts = useMemo(() => {
    const readers = { stdout: new Ansi(), stderr: new Ansi() };
    return heard.map((part) => ({ from: part.from, pieces: readers[part.from].read(part.text) }));
  }, [heard]);
  return <>{parts.map((part, at) => <span key={at} class={part.from === "stderr" ? "err" : undefined}>{part.pieces.flatMap((piece, n): ComponentChildren[] => {
    if (piece.classes) return [<span key={n} class={piece.classes}>{piece.text}</span>];
    if (!plain && piece.text.length < 100_000) return [piece.text];
    // Laid out only where it is seen.
    return blocks(piece.text).map((block, m) => <div key={`${n}-${m}`} class="chunk">{block}</div>);
  })}</span>)}</>;
}

/** Text in blocks of whole lines, about 16,000 characters each. */
function blocks(text: string): string[] {
  const found: string[] = [];
  for (let from = 0; from < text.length;) {
    let to = text.indexOf("\n", from + 16_000);
    to = to < 0 || to - from > 64_000 ? Math.min(text.length, from + 16_000) : to;
    found.push(text.slice(from, to));
    from = text[to] === "\n" ? to + 1 : to;
  }
  return found;
}

const FORMS: readonly (readonly [string, string])[] = [
  ["image/png", "Image"], ["image/jpeg", "Image"], ["image/gif", "Image"], ["image/svg+xml", "Image"], ["table", "Table"], ["text/html", "HTML"],
  ["text/markdown", "Markdown"], ["application/json", "JSON"], ["text/latex", "LaTeX"], ["text/plain", "Text"],
];

/** One value that a program displayed, in its richest form; the others can be chosen. */
export function Displayed({ bundle, label }: { bundle: Bundle; label: string }) {
  const table = useMemo(() => (typeof bundle["text/html"] === "string" ? tableOf(bundle["text/html"]) : null), [bundle]);
  const forms = FORMS.filter(([form]) => (form === "table" ? table !== null : form in bundle))
    .concat(Object.keys(bundle).filter((form) => /^application\/vnd\./.test(form)).map((form) => [form, /plotly/.test(form) ? "Plotly" : /vega/.test(form) ? "Vega" : "Data"] as const));
  const [chosen, choose] = useState<string>(forms[0]?.[0] ?? "text/plain");
  const form = forms.some(([one]) => one === chosen) ? chosen : forms[0]?.[0] ?? "text/plain";
  const value = bundle[form];
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  if (form === "text/plain" && forms.length <= 1) return <pre class="out" aria-label={label}>{String(bundle["text/x-str"] ?? text ?? "")}</pre>;
  return (
    <figure class="shown" aria-label={label}>
      <header><span>{label}</span>{forms.length > 1 && <Segment label={`Form of ${label}`} options={forms} value={form} choose={choose} />}</header>
      {form.startsWith("image/") ? <img alt={`${label}: ${String(bundle["text/plain"] ?? "an image")}`} src={imageOf(form, text!)} />
        : form === "table" ? <div class="scroll" tabIndex={0}><Grid rows={table!} /></div>
        : form === "text/html" ? <Frame html={text!} label={label} />
        : <div class="pad">{form === "text/markdown" ? <Markdown text={text!} /> : form === "application/json" || typeof value === "object" ? <Json value={value} /> : <pre class="out">{text}</pre>}</div>}
    </figure>
  );
}

function imageOf(form: string, data: string): string {
  // As an image, an SVG runs no script and fetches nothing (SVG integration, secure static mode).
  return form === "image/svg+xml" ? `data:${form};charset=utf-8,${encodeURIComponent(data)}` : `data:${form};base64,${data.replace(/\s/g, "")}`;
}

interface TrustedPolicy { createHTML(text: string): string }
const trust: TrustedPolicy = ((globalThis as any).trustedTypes?.createPolicy("fireclay-frame", { createHTML: (text: string) => text })) ?? { createHTML: (text) => text };

/** HTML of a program: in a frame without scripts, without our origin, without the network, without links that lead out. */
export function Frame({ html, label }: { html: string; label: string }) {
  const origin = location.origin;
  const may = `default-src 'none'; img-src data:; style-src ${origin}/console/assets/; font-src data:`;
  const page = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${may}"><title>output</title><link rel="stylesheet" href="${origin}${FRAME_CSS}"></head><body>${html}</body></html>`;
  return <iframe title={label} ref={(frame) => {
    if (!frame || frame.dataset.set === html) return;
    frame.setAttribute("sandbox", "");
    frame.setAttribute("referrerpolicy", "no-referrer");
    frame.dataset.set = html;
    frame.srcdoc = trust.createHTML(page);
  }} />;
}

/** The cells of HTML that is one table, as text; `null` if it is more than that. Parsing makes a document that is never shown: no script of it runs and nothing is fetched. */
export function tableOf(html: string): string[][] | null {
  if (html.length > 2_000_000 || !/<table[\s>]/i.test(html)) return null;
  const parsed = new DOMParser().parseFromString(trust.createHTML(html) as string, "text/html");
  const tables = parsed.querySelectorAll("table");
  if (tables.length !== 1) return null;
  const rows = [...tables[0]!.rows].slice(0, 500).map((row) => [...row.cells].slice(0, 100).flatMap((cell) => [cell.textContent?.trim() ?? "", ...Array<string>(Math.min(cell.colSpan, 20) - 1).fill("")]));
  return rows.length > 0 ? rows : null;
}

export function Grid({ rows }: { rows: string[][] }) {
  const [head, ...body] = rows;
  return <table class="grid"><thead><tr>{head!.map((cell, at) => (cell ? <th key={at} scope="col">{cell}</th> : <td key={at} />))}</tr></thead><tbody>{body.map((row, at) => <tr key={at}>{row.map((cell, n) => (n === 0 ? <th key={n} scope="row">{cell}</th> : <td key={n}>{cell}</td>))}</tr>)}</tbody></table>;
}

/** Rows of CSV (RFC 4180), bounded. */
export function csv(text: string): string[][] {
  const rows: string[][] = [[]];
  let cell = "", quoted = false;
  for (let at = 0; at < text.length && rows.length <= 300; at += 1) {
    const one = text[at]!;
    if (quoted) {
      if (one === '"' && text[at + 1] === '"') { cell += '"'; at += 1; }
      else if (one === '"') quoted = false;
      else cell += one;
    } else if (one === '"' && cell === "") quoted = true;
    else if (one === "," || one === "\n") {
      rows[rows.length - 1]!.push(cell);
      cell = "";
      if (one === "\n") rows.push([]);
    } else if (one !== "\r") cell += one;
  }
  if (cell !== "") rows[rows.length - 1]!.push(cell);
  return rows.filter((row) => row.length > 0);
}

export function ErrorOf({ error }: { error: GuestError }) {
  return (
    <div class="note bad">
      <p><strong>{error.name}</strong>{error.message && <>: {error.message}</>}</p>
      {error.traceback && <details><summary>Traceback</summary><pre class="trace-text">{error.traceback}</pre></details>}
    </div>
  );
}

export function Findings({ of }: { of: Finding[] }) {
  return <div class="stack-8">{of.map((one, at) => (
    <div key={at} class={`note ${one.severity === "high" ? "bad" : one.severity === "medium" ? "warn" : ""}`}>
      <p><strong>{one.severity}</strong> · line {one.line} · <span class="mono">{one.rule}</span></p><p>{one.reason}</p>{one.advice && <p class="soft">{one.advice}</p>}
    </div>
  ))}</div>;
}

export function Egress({ of }: { of: EgressAttempt[] }) {
  return (
    <div class="scroll" ref={reach}><table class="list"><thead><tr><th scope="col">Host</th><th scope="col">Verdict</th><th scope="col">Why</th><th scope="col" class="num">Up</th><th scope="col" class="num">Down</th><th scope="col" class="num">Took</th></tr></thead>
      <tbody>{of.map((one, at) => <tr key={at}><td class="mono">{one.host}:{one.port}</td><td><span class={`badge ${one.verdict === "allowed" ? "good" : "bad"}`}>{one.verdict}</span></td><td class="soft">{one.reason}</td><td class="num">{bytes(one.bytes_up)}</td><td class="num">{bytes(one.bytes_down)}</td><td class="num">{ms(one.ms)}</td></tr>)}</tbody></table></div>
  );
}

export function Isolation({ of }: { of: RunResult["isolation"] }) {
  return (
    <div class="stack-8">
      <p class="soft">Level <b>{of.level}</b>: {of.layers.length} layers in force{of.missing.length > 0 && <>, {of.missing.length} missing</>}.</p>
      <div class="row">{of.layers.map((one) => <span key={one} class="badge good">{one}</span>)}{of.missing.map((one) => <span key={one} class="badge bad">{one} missing</span>)}</div>
    </div>
  );
}

/** Files that a run wrote, with a look at those that can be shown. */
export function Artifacts({ run, of }: { run: string; of: Artifact[] }) {
  return <div class="stack-8">{of.map((one) => <ArtifactOf key={one.path} run={run} one={one} />)}</div>;
}

function ArtifactOf({ run, one }: { run: string; one: Artifact }) {
  const [open, show] = useState(false);
  const fetchIt = async () => (await ask("GET", `/v1/runs/${run}/artifacts/${one.path.split("/").map(encodeURIComponent).join("/")}`)).blob();
  return (
    <div class="shown">
      <header><span class="mono clip">{one.path}</span><span class="row"><span class="nowrap">{bytes(one.bytes)}</span>
        <button class="small quiet" aria-expanded={open} onClick={() => show(!open)}>{open ? "Hide" : "Look"}</button>
        <button class="small quiet" onClick={async () => save(one.path.split("/").pop()!, await fetchIt())}>Save</button></span></header>
      {open && <Preview name={one.path} media={one.mime} bytes={one.bytes} load={fetchIt} />}
    </div>
  );
}

/** A look into a file, by what its name and type say it is; never as a page. */
export function Preview({ name, media, bytes: size, load }: { name: string; media?: string; bytes: number; load: () => Promise<Blob> }) {
  const [seen, set] = useState<{ image?: string; text?: string; problem?: string } | null>(null);
  const end = name.split(".").pop()!.toLowerCase();
  const image = ({ png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp", svg: "image/svg+xml" } as Record<string, string>)[end];
  useEffect(() => {
    let url = "", gone = false;
    if (size > 8 << 20) { set({ problem: `${bytes(size)} are too much for a look; save it` }); return; }
    load().then(async (blob) => {
      if (image) {
        url = URL.createObjectURL(new Blob([blob], { type: image }));
        if (!gone) set({ image: url });
        return;
      }
      const raw = new Uint8Array(await blob.arrayBuffer());
      const text = new TextDecoder().decode(raw);
      if (!gone) set(raw.subarray(0, 8000).includes(0) ? { problem: `${media ?? "a binary file"}: it is not text` } : { text });
    }).catch(() => { if (!gone) set({ problem: "it cannot be read" }); });
    return () => { gone = true; if (url) URL.revokeObjectURL(url); };
  }, [name]);
  if (!seen) return <div class="pad small soft" role="status">Loading</div>;
  if (seen.problem) return <div class="pad small soft">{seen.problem}</div>;
  if (seen.image) return <img src={seen.image} alt={name} />;
  const text = seen.text!;
  if (end === "csv") return <div class="scroll" tabIndex={0}><Grid rows={csv(text)} /></div>;
  if (end === "md") return <div class="pad"><Markdown text={text} /></div>;
  if (end === "json") { try { return <div class="pad"><Json value={JSON.parse(text)} /></div>; } catch { /* Shown as text. */ } }
  const language = ({ py: "python", js: "javascript", mjs: "javascript", ts: "typescript", sh: "bash" } as Record<string, string>)[end];
  if (language && text.length < 200_000) return <Code text={text} language={language} />;
  return <div class="pad"><Output heard={[{ from: "stdout", text }]} name={name} /></div>;
}

/** All that came of a settled run. `streamed` is its output as it came, in order; without it both are shown one after the other. */
export function Result({ result, streamed }: { result: RunResult; streamed?: Heard[] }) {
  const heard: Heard[] = streamed?.length ? streamed : [{ from: "stdout" as const, text: result.stdout }, { from: "stderr" as const, text: result.stderr }].filter((part) => part.text);
  const quiet = heard.every((part) => !part.text) && !result.result && result.displays.length === 0 && !result.error && result.artifacts.length === 0 && !result.fault;
  return (
    <div class="stack">
      {result.fault && <div class="note bad" role="alert"><strong>{result.fault.code}</strong>: {result.fault.message}</div>}
      {(result.outcome === "timed_out" || result.outcome?.endsWith("_exceeded")) && <div class="note warn"><strong>A limit ended it</strong>: {result.limits_hit.join(", ") || result.outcome.replaceAll("_", " ")}</div>}
      <Output heard={heard} name={`${result.id}.txt`} />
      {(result.stdout_truncated || result.stderr_truncated) && <p class="small warn">The output was cut at the limit of this run.</p>}
      {result.displays.map((bundle, at) => <Displayed key={at} bundle={bundle} label={`Display ${at + 1}`} />)}
      {result.result && <Displayed bundle={result.result} label="Value" />}
      {result.error && <ErrorOf error={result.error} />}
      {result.artifacts.length > 0 && <div class="stack-8"><h3>Files</h3><Artifacts run={result.id} of={result.artifacts} /></div>}
      {quiet && <p class="soft">It said nothing.</p>}
    </div>
  );
}

/** The rest of what is known of a run. */
export function About({ result }: { result: RunResult }) {
  return (
    <div class="stack">
      <Pairs of={[["Run", <span class="mono">{result.id}</span>], ["Exit code", result.exit_code ?? result.signal ?? "–"], ["Wall time", ms(result.usage.wall_ms)], ["Processor", ms(result.usage.cpu_ms)], ["Memory, peak", bytes(result.usage.memory_peak_bytes)], ["Waited", ms(result.usage.queue_ms)]]} />
      <div class="stack-8"><h3>Isolation</h3><Isolation of={result.isolation} /></div>
      <div class="stack-8"><h3>Findings of the static check</h3>{result.findings.length ? <Findings of={result.findings} /> : <p class="soft">None.</p>}</div>
      <div class="stack-8"><h3>What it tried to reach</h3>{result.egress.length ? <Egress of={result.egress} /> : <p class="soft">Nothing.</p>}</div>
    </div>
  );
}
