// One session: its runs as a notebook, its files, a terminal in it.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, events, get, query, send, type FileView, type Page, type Problem, type RunResult, type RunSummary, type SessionView } from "../api";
import { href, setArgs, useRoute } from "../route";
import { ago, bytes, clock, ms } from "../words";
import { Empty, Head, Outcome, Pairs, problemOf, save, reach, Show, Tabs, Trouble, useEvery, useLoad, Wait } from "../pieces/basic";
import { Code } from "../pieces/code";
import { Editor } from "../pieces/editor";
import { Icon } from "../pieces/icons";
import { Output, Preview, Result, type Heard } from "../pieces/output";
import { codeOf } from "./trace";
import type { Trace, TraceRow } from "../api";

type Tab = "notebook" | "files" | "terminal" | "about";

export function Session({ id }: { id: string }) {
  const { args } = useRoute();
  const tab = (args.get("tab") ?? "notebook") as Tab;
  const loaded = useLoad((signal) => get<SessionView>(`/v1/sessions/${encodeURIComponent(id)}`, signal), [id]);
  useEvery(5000, loaded.reload);
  return <Show of={loaded}>{(session) => {
    const open = session.state === "open";
    const end = async () => { if (confirm("End this session? Its variables are lost; its files can be fetched for a while.")) { await send("DELETE", `/v1/sessions/${id}`).catch(() => {}); loaded.reload(); } };
    return (
      <>
        <Head title={<span class="row">{session.name || "Session"} <Outcome of={session.state} /></span>} note={<span class="mono small">{session.id}</span>}>
          <a class="button" href={href("sessions")}>All sessions</a>{open && <button class="danger" onClick={end}>End</button>}
        </Head>
        {session.end && <div class="note" style={{ marginBottom: "16px" }}>Ended {ago(session.end.at)}: {session.end.detail || session.end.why}</div>}
        <section class="card" aria-label="Session">
          <Tabs<Tab> label="Of the session" options={[["notebook", "Notebook"], ["files", "Files"], ["terminal", "Terminal"], ["about", "About"]]} value={tab} choose={(one) => setArgs({ tab: one === "notebook" ? null : one })} />
          {tab === "notebook" && <Notebook session={session} />}
          {tab === "files" && <Files session={session} />}
          {tab === "terminal" && (open ? <Terminal id={session.id} /> : <Empty title="The session has ended">A terminal needs one that is open.</Empty>)}
          {tab === "about" && <div class="body"><Pairs of={[["Template", session.template], ["Language", session.language], ["Packages", session.packages.join(", ")], ["May reach", session.egress?.allow.join(", ") ?? "nothing"], ["Opened", clock(session.created_at)], ["Ends when idle", session.idle_ttl_ms ? ms(session.idle_ttl_ms) : null], ["Ends", clock(session.ends_at ?? session.expires_at)], ["Memory", session.limits ? bytes(session.limits.memory_bytes) : null], ["Disk", session.limits ? bytes(session.limits.disk_bytes) : null], ["Background", session.background]]} /></div>}
        </section>
      </>
    );
  }}</Show>;
}

/** So many runs a notebook begins with. */
const SHOWN = 30;

interface Cell { id: string; code: string | null; language: string; heard: Heard[]; result: RunResult | null; problem: Problem | null; running: boolean }

function Notebook({ session }: { session: SessionView }) {
  const open = session.state === "open";
  const [cells, set] = useState<Cell[] | null>(null);
  const [code, write] = useState("");
  const [older, leave] = useState(false);
  const [problem, tell] = useState<Problem | null>(null);
  const language = session.language ?? "python";
  const change = (id: string, part: Partial<Cell>) => set((before) => before?.map((cell) => (cell.id === id ? { ...cell, ...part } : cell)) ?? null);
  useEffect(() => {
    const end = new AbortController();
    (async () => {
      try {
        const runs = await get<Page<RunSummary>>(`/v1/runs${query({ session: session.id, limit: SHOWN })}`, end.signal);
        // Runs of one task are in one trace.
        const traces = new Map<string, Promise<Trace>>();
        const found = await Promise.all(runs.items.reverse().map(async (run): Promise<Cell> => {
          const result = run.state === "settled" ? await get<RunResult>(`/v1/runs/${run.id}`, end.signal).catch(() => null) : null;
          return { id: run.id, code: await codeOfRun(run.id, traces, end.signal), language: run.language, heard: [], result, problem: null, running: false };
        }));
        set(found);
        leave(Boolean(runs.next));
      } catch (error) { if (!end.signal.aborted) { tell(problemOf(error)); set([]); } }
    })();
    return () => end.abort();
  }, [session.id]);
  const run = async () => {
    if (!code.trim()) return;
    const id = `new-${Date.now()}`;
    set((before) => [...(before ?? []), { id, code, language, heard: [], result: null, problem: null, running: true }]);
    write("");
    let heard: Heard[] = [];
    try {
      const answer = await ask("POST", `/v1/sessions/${session.id}/runs`, { code, language }, { headers: { accept: "text/event-stream" } });
      for await (const { event, data } of events(answer)) {
        if (event === "stdout" || event === "stderr") { heard = [...heard, { from: event, text: data.text ?? "" }]; change(id, { heard }); }
        else if (event === "settled") change(id, { result: data, running: false });
        else if (event === "problem") change(id, { problem: data, running: false });
      }
      change(id, { running: false });
    } catch (error) { change(id, { problem: problemOf(error), running: false }); }
  };
  if (cells === null) return <Wait lines={6} />;
  return (
    <div class="body">
      {problem && <Trouble problem={problem} />}
      {older && <p class="small soft" role="note" style={{ marginBottom: "16px" }}>The last {SHOWN} runs are shown; numbers begin with the first of them.</p>}
      {cells.length === 0 && <p class="soft" style={{ marginBottom: "16px" }}>{open ? "No run yet. What you run here keeps its variables." : "It ended without a run."}</p>}
      {cells.map((cell, at) => (
        <div class="cell" key={cell.id}>
          <span class="n">{at + 1}</span>
          <div class="shell-in">{cell.code === null ? <p class="code soft">The code of this run was not kept.</p> : <Code text={cell.code} language={cell.language} />}</div>
          <div class="shell-out">
            {cell.running && (cell.heard.length ? <Output heard={cell.heard} /> : <span class="soft small" role="status">Running</span>)}
            {cell.problem && <Trouble problem={cell.problem} />}
            {cell.result && <><Result result={cell.result} streamed={cell.heard} /><div class="status"><Outcome of={cell.result.outcome ?? "fault"} /><span>{ms(cell.result.usage.wall_ms)}</span></div></>}
          </div>
        </div>
      ))}
      {open && <div class="cell"><span class="n">{cells.length + 1}</span><div class="shell-in slim"><Editor value={code} language={language} label="New cell" change={write} run={run} /></div><div class="shell-out"><div><button class="primary" disabled={!code.trim()} onClick={run}><Icon name="play" />Run <kbd>Ctrl ⏎</kbd></button></div></div></div>}
    </div>
  );
}

/** The code of a run, which traces have; without one it is not known. */
async function codeOfRun(id: string, traces: Map<string, Promise<Trace>>, signal: AbortSignal): Promise<string | null> {
  try {
    const row = (await get<Page<TraceRow>>(`/v1/traces${query({ of: id, limit: 1 })}`, signal)).items[0];
    if (!row) return null;
    if (!traces.has(row.id)) traces.set(row.id, get<Trace>(`/v1/traces/${row.id}`, signal));
    return codeOf(await traces.get(row.id)!, id)?.code ?? null;
  } catch { return null; }
}

function Files({ session }: { session: SessionView }) {
  const { args } = useRoute();
  const path = args.get("path") ?? "";
  const look = args.get("file");
  const files = useLoad((signal) => get<{ items: FileView[]; truncated: boolean; free_bytes: number }>(`/v1/sessions/${session.id}/files${query({ path: path || null })}`, signal), [session.id, path]);
  const [problem, tell] = useState<Problem | null>(null);
  const [busy, wait] = useState("");
  const [over, drag] = useState(false);
  const open = session.state === "open";
  const at = (name: string) => `/v1/sessions/${session.id}/files/${name.split("/").map(encodeURIComponent).join("/")}`;
  const whole = (name: string) => (path && !name.startsWith(`${path}/`) ? `${path}/${name}` : name);
  const upload = async (list: FileList | null | undefined) => {
    tell(null);
    for (const file of list ?? []) {
      wait(file.name);
      try { await ask("PUT", at(path ? `${path}/${file.name}` : file.name), await file.arrayBuffer()); } catch (error) { tell(problemOf(error)); }
    }
    wait("");
    files.reload();
  };
  const load = (name: string) => async () => (await ask("GET", at(name))).blob();
  const remove = async (name: string) => { if (!confirm(`Remove ${name}?`)) return; try { await send("DELETE", at(name)); if (look === name) setArgs({ file: null }); files.reload(); } catch (error) { tell(problemOf(error)); } };
  const parts = path.split("/").filter(Boolean);
  return (
    <div class="body stack">
      <div class="row between"><nav class="row" aria-label="Directory"><button class="quiet small" onClick={() => setArgs({ path: null, file: null })}>workspace</button>{parts.map((one, n) => <span key={n} class="row"><span class="faint">/</span><button class="quiet small" onClick={() => setArgs({ path: parts.slice(0, n + 1).join("/"), file: null })}>{one}</button></span>)}</nav>
        <div class="row">{files.data && <span class="small soft">{bytes(files.data.free_bytes)} free</span>}<button class="small" onClick={files.reload}>Refresh</button><button class="small" onClick={async () => save(`${session.name || session.id}.tar`, await (await ask("GET", `/v1/sessions/${session.id}/archive${query({ path: path || null })}`)).blob())}>Save all (tar)</button></div></div>
      {problem && <Trouble problem={problem} />}
      <Show of={files}>{({ items, truncated }) => items.length === 0 ? <p class="soft">{path ? "This directory is empty." : "The workspace is empty."}</p> : (
        <div class="scroll" ref={reach}><table class="list"><thead><tr><th scope="col">Name</th><th scope="col" class="num">Size</th><th scope="col" class="num wide">Changed</th><th scope="col"><span class="hidden-text">Acts</span></th></tr></thead>
          <tbody>{items.map((file) => { const name = whole(file.path); const shown = name.split("/").pop()!; return (
            <tr key={name}><td><button class="quiet small" aria-pressed={look === name} onClick={() => (file.kind === "directory" ? setArgs({ path: name, file: null }) : setArgs({ file: look === name ? null : name }))}><Icon name={file.kind === "directory" ? "folder" : "file"} />{shown}</button></td>
              <td class="num">{file.kind === "file" ? bytes(file.bytes) : file.kind}</td><td class="num wide soft">{clock(file.modified_at)}</td>
              <td class="num">{file.kind === "file" && <button class="quiet small" aria-label={`Save ${shown}`} onClick={async () => save(shown, await load(name)())}>Save</button>}{open && <button class="quiet small danger" aria-label={`Remove ${shown}`} onClick={() => remove(name)}>Remove</button>}</td></tr>
          ); })}</tbody></table>{truncated && <p class="small soft">There are more than are listed.</p>}</div>
      )}</Show>
      {look && <div class="shown"><header><span class="mono clip">{look}</span><button class="quiet small" onClick={() => setArgs({ file: null })}>Close</button></header><Preview key={look} name={look} bytes={files.data?.items.find((one) => whole(one.path) === look)?.bytes ?? 0} load={load(look)} /></div>}
      {open && <label class={over ? "drop over" : "drop"} onDragOver={(event) => { event.preventDefault(); drag(true); }} onDragLeave={() => drag(false)} onDrop={(event) => { event.preventDefault(); drag(false); upload(event.dataTransfer?.files); }}>
        {busy ? `Sending ${busy}` : <>Drop files here, or <span class="small">choose: </span></>} <input type="file" multiple aria-label="Upload files" onChange={(event) => { upload(event.currentTarget.files); event.currentTarget.value = ""; }} /></label>}
    </div>
  );
}

function Terminal({ id }: { id: string }) {
  const host = useRef<HTMLDivElement>(null);
  const [state, put] = useState<"starting" | "on" | "ended">("starting");
  const [problem, tell] = useState<Problem | null>(null);
  const [turn, again] = useState(0);
  useEffect(() => {
    let gone = false, close = () => {};
    put("starting");
    tell(null);
    import("../lazy/terminal").then(async ({ open }) => {
      if (gone || !host.current) return;
      close = await open(host.current, id, { on: () => put("on"), ended: () => put("ended") });
      if (gone) close();
    }).catch((error) => { if (!gone) tell(problemOf(error)); });
    return () => { gone = true; close(); };
  }, [id, turn]);
  return (
    <div>
      <div class="row between" style={{ padding: "8px 16px" }}><span class="small soft" role="status">{state === "starting" ? "Starting a shell" : state === "on" ? "A shell in the sandbox. Ctrl+Shift+Tab leaves the terminal." : "The shell has ended."}</span>{state === "ended" && <button class="small" onClick={() => again(turn + 1)}>Start another</button>}</div>
      {problem && <div class="body"><Trouble problem={problem} retry={() => again(turn + 1)} /></div>}
      <div class="term" ref={host} data-terminal={state} />
    </div>
  );
}
