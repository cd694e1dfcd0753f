// Write code, run it, see what comes of it.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, events, get, LABELS, LANGUAGES, type Language, type Limits, type Problem, type RunResult } from "../api";
import { href, read, setArgs } from "../route";
import { bytes, ms } from "../words";
import { Copy, Dialog, Field, Head, Outcome, problemOf, Segment, Tabs, Trouble } from "../pieces/basic";
import { Code } from "../pieces/code";
import { Editor } from "../pieces/editor";
import { Icon } from "../pieces/icons";
import { About, Output, Result, type Heard } from "../pieces/output";

/** What the playground would run; kept for the next visit of this tab. */
export interface Draft { language: Language; code: string; stdin: string; packages: string; auto: boolean; offline: boolean; python: string; template: string; hosts: string; timeout: string; memory: string; review: boolean; check: string;
  /** Limits, and more, that have no field here: of a run of before. */
  limits: Record<string, number>; more: Record<string, unknown>;
  /** What of that run is not known. */
  missing: string[] }

const EXAMPLES: Record<Language, string> = {
  python: `# A fresh sandbox: no network, gone afterwards.\nimport statistics\n\nfired = [1040, 1062, 1055, 1071, 1048]\nprint("mean", statistics.mean(fired), "°C")\n\n{"cone": "06", "spread": max(fired) - min(fired)}\n`,
  javascript: `// A fresh sandbox: no network, gone afterwards.\nconst fired = [1040, 1062, 1055, 1071, 1048];\nconsole.log("mean", fired.reduce((sum, one) => sum + one) / fired.length, "°C");\n\n({ cone: "06", spread: Math.max(...fired) - Math.min(...fired) });\n`,
  typescript: `// A fresh sandbox: no network, gone afterwards.\nconst fired: number[] = [1040, 1062, 1055, 1071, 1048];\nconsole.log("mean", fired.reduce((sum, one) => sum + one) / fired.length, "°C");\n`,
  bash: `# A fresh sandbox: no network, gone afterwards.\nprintf '%s\\n' 1040 1062 1055 1071 1048 | sort -n | tail -1\nuname -sr\n`,
  c: `// Compiled in a sandbox of its own, run in another.\n#include <stdio.h>\n\nint main(void) {\n    int fired[] = {1040, 1062, 1055, 1071, 1048}, sum = 0;\n    for (int at = 0; at < 5; at++) sum += fired[at];\n    printf("mean %.1f °C\\n", sum / 5.0);\n}\n`,
  cpp: `// Compiled in a sandbox of its own, run in another.\n#include <algorithm>\n#include <iostream>\n#include <vector>\n\nint main() {\n    std::vector<int> fired{1040, 1062, 1055, 1071, 1048};\n    std::cout << "hottest " << *std::max_element(fired.begin(), fired.end()) << " °C\\n";\n}\n`,
  rust: `// Compiled in a sandbox of its own, run in another.\nfn main() {\n    let fired = [1040, 1062, 1055, 1071, 1048];\n    println!("mean {} °C", fired.iter().sum::<i32>() as f64 / fired.len() as f64);\n}\n`,
  go: `// Compiled in a sandbox of its own, run in another.\npackage main\n\nimport "fmt"\n\nfunc main() {\n\tsum := 0\n\tfor _, one := range []int{1040, 1062, 1055, 1071, 1048} {\n\t\tsum += one\n\t}\n\tfmt.Println("sum", sum, "°C")\n}\n`,
  java: `// Compiled in a sandbox of its own, run in another.\nimport java.util.stream.IntStream;\n\npublic class Main {\n    public static void main(String[] args) {\n        System.out.println("mean " + IntStream.of(1040, 1062, 1055, 1071, 1048).average().getAsDouble() + " °C");\n    }\n}\n`,
  ruby: `# A fresh sandbox: no network, gone afterwards.\nfired = [1040, 1062, 1055, 1071, 1048]\nputs "mean #{fired.sum.to_f / fired.size} °C"\n`,
  perl: `# A fresh sandbox: no network, gone afterwards.\nuse strict;\nuse warnings;\nuse List::Util qw(sum);\n\nmy @fired = (1040, 1062, 1055, 1071, 1048);\nprintf "mean %.1f\\n", sum(@fired) / @fired;\n`,
  php: `<?php // A fresh sandbox: no network, gone afterwards.\n$fired = [1040, 1062, 1055, 1071, 1048];\necho "mean ", array_sum($fired) / count($fired), " °C\\n";\n`,
  r: `# A fresh sandbox: no network, gone afterwards.\nfired <- c(1040, 1062, 1055, 1071, 1048)\ncat("mean", mean(fired), "spread", diff(range(fired)), "\\n")\n`,
};
/** Languages whose sandboxes have a Python that may be chosen. */
const WITH_PYTHON: Language[] = ["python", "bash"];
const FRESH: Draft = { language: "python", code: EXAMPLES.python, stdin: "", packages: "", auto: false, offline: false, python: "", template: "", hosts: "", timeout: "", memory: "", review: false, check: "", limits: {}, more: {}, missing: [] };
const KEPT = "fireclay-draft";

/** Puts something into the playground, for the next visit there. */
export function keepDraft(draft: Partial<Draft>): void {
  sessionStorage.setItem(KEPT, JSON.stringify({ ...FRESH, ...draft }));
}

function kept(): Draft {
  try { return { ...FRESH, ...JSON.parse(sessionStorage.getItem(KEPT) ?? "{}") }; } catch { return FRESH; }
}

function lines(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}

/** The draft as the body of POST /v1/runs. */
export function requestOf(draft: Draft): Record<string, unknown> {
  const said: Record<string, unknown> = { language: draft.language, code: draft.code };
  if (draft.stdin) said.stdin = draft.stdin;
  if (lines(draft.packages).length) said.packages = lines(draft.packages);
  if (draft.auto) said.auto_packages = true;
  if (draft.template) said.template = draft.template;
  if (draft.python.trim() && WITH_PYTHON.includes(draft.language)) said.python = draft.python.trim();
  if (draft.offline) said.offline = true;
  if (lines(draft.hosts).length) said.egress = { allow: lines(draft.hosts) };
  const limits: Record<string, number> = { ...draft.limits };
  if (Number(draft.timeout) > 0) limits.timeout_ms = Math.round(Number(draft.timeout) * 1000);
  if (Number(draft.memory) > 0) limits.memory_bytes = Math.round(Number(draft.memory) * 2 ** 20);
  if (Object.keys(limits).length) said.limits = limits;
  if (draft.check) said.check = draft.check;
  if (draft.review) said.review = true;
  return { ...said, ...draft.more };
}

function many(number: number, word: string): string {
  return number === 0 ? "" : `${number} ${word}${number === 1 ? "" : "s"}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A value as Python spells it. Strings of JSON are strings of Python. */
export function pythonic(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(pythonic).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${pythonic(one)}`).join(", ")}}`;
  return JSON.stringify(value);
}

/** The draft for a terminal or a program. */
export function spelled(draft: Draft, way: "curl" | "python" | "cli"): string {
  const said = requestOf(draft);
  if (way === "curl") return `curl ${location.origin}/v1/runs \\\n  -H "Authorization: Bearer $FIRECLAY_API_KEY" \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify({ ...said, wait: true }))}`;
  if (way === "python") {
    const { code, language, ...rest } = said;
    const more = Object.entries(rest).map(([name, value]) => `,\n        ${name}=${pythonic(value)}`).join("");
    return `from fireclay import Fireclay\n\nwith Fireclay(${JSON.stringify(location.origin)}) as fc:  # and FIRECLAY_API_KEY\n    result = fc.run(\n        ${JSON.stringify(code)},\n        language=${JSON.stringify(language)}${more},\n    )\n    print(result.outcome, result.stdout)`;
  }
  const words = ["fireclay run", `--language ${draft.language}`];
  for (const one of lines(draft.packages)) words.push(`--package ${quoted(one)}`);
  if (draft.auto) words.push("--auto-packages");
  if (draft.template) words.push(`--template ${quoted(draft.template)}`);
  for (const one of lines(draft.hosts)) words.push(`--allow-host ${quoted(one)}`);
  if (Number(draft.timeout) > 0) words.push(`--timeout ${draft.timeout}s`);
  if (Number(draft.memory) > 0) words.push(`--memory ${draft.memory}MiB`);
  if (draft.check) words.push(`--check ${draft.check}`);
  if (draft.review) words.push("--review");
  if (said.offline) words.push("--offline");
  if (said.python) words.push(`--python ${quoted(String(said.python))}`);
  words.push(`--code ${quoted(draft.code)}`);
  return draft.stdin ? `printf %s ${quoted(draft.stdin)} | ${words.join(" ")} --stdin -` : words.join(" ");
}

interface Template { name: string; languages: string[]; ready: boolean; shipped: boolean; version?: string | null }

interface State { heard: Heard[]; run: string | null; began: number; running: boolean; result: RunResult | null; problem: Problem | null; omitted: boolean; phase: string }
const IDLE: State = { heard: [], run: null, began: 0, running: false, result: null, problem: null, omitted: false, phase: "" };

export function Playground() {
  const [draft, set] = useState<Draft>(kept);
  const [state, put] = useState<State>(IDLE);
  const [tab, choose] = useState<"output" | "details">("output");
  const [sharing, share] = useState(false);
  const [limits, learn] = useState<{ limits: Limits } | null>(null);
  const end = useRef<AbortController | null>(null);
  const change = (part: Partial<Draft>) => set((before) => {
    const next = { ...before, ...part };
    sessionStorage.setItem(KEPT, JSON.stringify(next));
    return next;
  });
  const [templates, find] = useState<Template[]>([]);
  useEffect(() => { get<{ limits: Limits }>("/v1/limits").then(learn, () => {}); return () => end.current?.abort(); }, []);
  useEffect(() => { get<{ items: Template[] }>("/v1/templates").then(({ items }) => find(items), () => {}); }, []);
  const ready = templates.length > 0 ? new Set(templates.filter((one) => one.ready).flatMap((one) => one.languages)) : null;
  const fitting = templates.filter((one) => one.languages.includes(draft.language));
  // A run of before, to be run again with changes.
  useEffect(() => { if (read().args.get("draft")) { set(kept()); setArgs({ draft: null }); } }, []);

  const run = async () => {
    end.current?.abort();
    const stop = (end.current = new AbortController());
    let heard: Heard[] = [], waiting = false;
    put({ ...IDLE, running: true, began: Date.now(), phase: "sending" });
    choose("output");
    const flush = () => { waiting = false; if (!stop.signal.aborted) put((before) => ({ ...before, heard })); };
    try {
      const answer = await ask("POST", "/v1/runs", requestOf(draft), { signal: stop.signal, headers: { accept: "text/event-stream" } });
      put((before) => ({ ...before, run: answer.headers.get("location")?.split("/").pop() ?? null, phase: "queued" }));
      for await (const { event, data } of events(answer)) {
        if (event === "stdout" || event === "stderr") {
          const text = data.text ?? `[${bytes(Math.floor((data.base64?.length ?? 0) * 0.75))} that are not UTF-8]`;
          const last = heard[heard.length - 1];
          heard = last?.from === event ? [...heard.slice(0, -1), { from: event, text: last.text + text }] : [...heard, { from: event, text }];
          if (!waiting) { waiting = true; setTimeout(flush, 60); }
        } else if (event === "started") put((before) => ({ ...before, phase: "running" }));
        else if (event === "omitted") put((before) => ({ ...before, omitted: true }));
        else if (event === "settled") put((before) => ({ ...before, heard, result: data as RunResult, run: data.id, running: false }));
        else if (event === "problem") put((before) => ({ ...before, problem: data as Problem, running: false }));
      }
      put((before) => ({ ...before, heard, running: false }));
    } catch (error) {
      if (!stop.signal.aborted) put((before) => ({ ...before, heard, running: false, problem: problemOf(error) }));
    }
  };
  const stop = () => {
    const id = state.run;
    // Without its name it ends with its connection or its limit.
    if (id) ask("POST", `/v1/runs/${id}/cancel`).catch(() => {});
    else { end.current?.abort(); put((before) => ({ ...before, running: false })); }
  };
  const options = [draft.template, WITH_PYTHON.includes(draft.language) && draft.python.trim() && `Python ${draft.python.trim()}`, draft.offline && "offline", many(lines(draft.packages).length, "package"), many(lines(draft.hosts).length, "host"), draft.stdin && "stdin", (draft.timeout || draft.memory || Object.keys(draft.limits).length > 0) && "limits", draft.review && "review"].filter(Boolean);

  return (
    <>
      <Head title="Playground" note="Code from a model, or from you, in a sandbox that is gone afterwards.">
        <button onClick={() => share(true)}>Copy as…</button>
      </Head>
      <div class="play">
        <section class="card" aria-label="Program">
          <header>
            <select aria-label="Language" value={draft.language} onChange={(event) => { const language = event.currentTarget.value as Language; change({ language, template: templates.some((one) => one.name === draft.template && one.languages.includes(language)) ? draft.template : "", code: draft.code === EXAMPLES[draft.language] || !draft.code.trim() ? EXAMPLES[language] : draft.code }); }}>
              {LANGUAGES.map((one) => <option key={one} value={one} disabled={ready !== null && !ready.has(one) && one !== draft.language}>{LABELS[one]}{ready !== null && !ready.has(one) && " (not on this machine)"}</option>)}
            </select>
            <span class="grow" />
            {state.running ? <button class="danger" onClick={stop}>Stop</button> : <button class="primary" onClick={run}><Icon name="play" />Run <kbd>Ctrl ⏎</kbd></button>}
          </header>
          {draft.missing.length > 0 && <div class="note warn" role="note"><strong>Not all of that run is here.</strong> Its trace does not have {draft.missing.join(", ")}. <button class="small" onClick={() => change({ missing: [] })}>Go on</button></div>}
          <Editor value={draft.code} language={draft.language} label="Code" change={(code) => change({ code })} run={run} />
          <details class="options">
            <summary>Options{options.length > 0 && <span class="soft"> · {options.join(", ")}</span>}</summary>
            <div>
              <div class="fields">
                <Field label="Template" hint="what the sandbox is made from">
                  <select value={draft.template} onChange={(event) => change({ template: event.currentTarget.value })}>
                    <option value="">as the language has it</option>
                    {fitting.map((one) => <option key={one.name} value={one.name} disabled={!one.ready}>{one.name}{!one.shipped && " (own)"}{!one.ready && " (not ready)"}</option>)}
                    {draft.template && !fitting.some((one) => one.name === draft.template) && <option value={draft.template}>{draft.template}</option>}
                  </select>
                </Field>
                {WITH_PYTHON.includes(draft.language) && <Field label="Python" hint="a version, such as 3.13"><input class="code" value={draft.python} placeholder="as the service has it" onInput={(event) => change({ python: event.currentTarget.value })} /></Field>}
                <Field label="Packages" hint="names, apart by spaces; installed for this run"><input class="code" value={draft.packages} placeholder="numpy pandas" onInput={(event) => change({ packages: event.currentTarget.value })} /></Field>
                <Field label="Hosts it may reach" hint="none: no network at all"><input class="code" value={draft.hosts} placeholder="api.example.com:443" onInput={(event) => change({ hosts: event.currentTarget.value })} /></Field>
                <Field label="Time limit, seconds"><input type="number" min="0" step="any" value={draft.timeout} placeholder={limits ? String(limits.limits.timeout_ms / 1000) : ""} onInput={(event) => change({ timeout: event.currentTarget.value })} /></Field>
                <Field label="Memory limit, MiB"><input type="number" min="0" value={draft.memory} placeholder={limits ? String(limits.limits.memory_bytes / 2 ** 20) : ""} onInput={(event) => change({ memory: event.currentTarget.value })} /></Field>
                <Field label="Static check"><select value={draft.check} onChange={(event) => change({ check: event.currentTarget.value })}><option value="">as the service says</option><option value="off">off</option><option value="warn">warn</option><option value="deny">deny</option></select></Field>
              </div>
              <Field label="Standard input"><textarea class="code" rows={3} value={draft.stdin} onInput={(event) => change({ stdin: event.currentTarget.value })} /></Field>
              <div class="row">
                <label class="check"><input type="checkbox" checked={draft.auto} onChange={(event) => change({ auto: event.currentTarget.checked })} />Install what it imports</label>
                <label class="check"><input type="checkbox" checked={draft.offline} onChange={(event) => change({ offline: event.currentTarget.checked })} />Only packages that are installed</label>
                <label class="check"><input type="checkbox" checked={draft.review} onChange={(event) => change({ review: event.currentTarget.checked })} />Have a model review it first</label>
              </div>
            </div>
          </details>
        </section>
        <section class="card result" aria-label="Result" aria-busy={state.running}>
          <header>
            <h2 class="grow">Result</h2>
            <div class="status" role="status">
              {state.running && <><Outcome of="running" /><Timer since={state.began} /></>}
              {state.result && <><Outcome of={state.result.outcome ?? state.result.fault?.code ?? "fault"} /><span>{ms(state.result.usage.wall_ms)}</span><span>{bytes(state.result.usage.memory_peak_bytes)}</span></>}
            </div>
          </header>
          {state.result && <Tabs label="Result" options={[["output", "Output"], ["details", "Details", state.result.findings.length + state.result.egress.length]]} value={tab} choose={choose} />}
          <div class="body">
            {state.problem && <Trouble problem={state.problem} />}
            {state.result ? (tab === "output" ? <Result result={state.result} streamed={state.heard} /> : <div class="stack"><About result={state.result} /><a href={`${href("traces")}?of=${state.result.id}`}>Its trace</a></div>)
              : state.heard.length > 0 ? <Output heard={state.heard} />
              : state.running ? <p class="soft">Waiting for the first output.</p>
              : !state.problem && <div class="empty"><h2>Nothing has run yet</h2><p>Press Run, or <kbd>Ctrl ⏎</kbd> in the editor. Output appears here as it is written; plots, tables and files follow.</p></div>}
            {state.omitted && <p class="small warn">Some of the output was left out of the stream.</p>}
          </div>
        </section>
      </div>
      {sharing && <Share draft={draft} close={() => share(false)} />}
    </>
  );
}

function Timer({ since }: { since: number }) {
  const [now, tick] = useState(Date.now());
  useEffect(() => { const timer = setInterval(() => tick(Date.now()), 100); return () => clearInterval(timer); }, []);
  return <span aria-hidden="true">{((now - since) / 1000).toFixed(1)} s</span>;
}

function Share({ draft, close }: { draft: Draft; close: () => void }) {
  const [way, choose] = useState<"curl" | "python" | "cli">("curl");
  const text = spelled(draft, way);
  return (
    <Dialog label="Copy as" close={close}>
      <div class="stack">
        <div class="row between"><Segment label="Form" options={[["curl", "curl"], ["python", "Python"], ["cli", "CLI"]]} value={way} choose={choose} /><Copy text={text} /></div>
        <div class="shown"><Code text={text} language={way === "python" ? "python" : "bash"} wrap /></div>
        <div class="row between"><span class="small soft">Keys are never part of it.</span><button onClick={close}>Close</button></div>
      </div>
    </Dialog>
  );
}
