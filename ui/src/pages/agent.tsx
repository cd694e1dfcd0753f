// Talk with the agent: it writes programs and runs them; each step is seen, and waits for a word where one is asked for.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, follow, get, LABELS, query, send, STAYING, type Page, type Problem, type Sent } from "../api";
import { go, href } from "../route";
import { ago, count, dollars, ms } from "../words";
import { Empty, Field, Head, Outcome, problemOf, reach, Show, Trouble, useEvery, useLoad } from "../pieces/basic";
import { Code } from "../pieces/code";
import { Markdown } from "../pieces/markdown";
import { Output } from "../pieces/output";

interface Task { id: string; state: string; created_at: string; question: string; questions: number; model: string; session?: string | null }
interface TaskUsage { turns: number; runs: number; input_tokens: number; output_tokens: number; dollars?: number | null }
type Item = { kind: string; data: any };

const LIVE = ["running", "waiting"];

export function Agent({ id }: { id?: string }) {
  return id ? <Talk id={id} /> : <Start />;
}

function Start() {
  const list = useLoad((signal) => get<Page<Task>>(`/v1/tasks${query({ limit: 30 })}`, signal), []);
  const [said, set] = useState({ question: "", language: "python", ask: true, review: false, dollars: "" });
  const [problem, tell] = useState<Problem | null>(null);
  const [busy, wait] = useState(false);
  useEvery(4000, list.reload);
  const begin = async (event: Event) => {
    event.preventDefault();
    if (!said.question.trim() || busy) return;
    wait(true);
    try {
      const task = await send<Task>("POST", "/v1/tasks", { question: said.question, language: said.language, ask: said.ask, review: said.review, ...(Number(said.dollars) > 0 && { budget: { dollars: Number(said.dollars) } }) });
      go(href("agent", task.id));
    } catch (error) { tell(problemOf(error)); wait(false); }
  };
  return (
    <>
      <Head title="Agent" note="Ask something that code can find out. It writes programs, runs them in a sandbox, and mends what fails." />
      <div class="stack">
        <form class="card" onSubmit={begin}><div class="body stack">
          <Field label="Question"><textarea rows={3} value={said.question} placeholder="Which of the first 10,000 integers have the longest Collatz chain?" onInput={(event) => set({ ...said, question: event.currentTarget.value })} onKeyDown={(event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) begin(event); }} /></Field>
          <div class="row between"><div class="row" style={{ gap: "8px 20px" }}>
            <label class="check"><input type="checkbox" checked={said.ask} onChange={(event) => set({ ...said, ask: event.currentTarget.checked })} />Ask me before each run</label>
            <label class="check"><input type="checkbox" checked={said.review} onChange={(event) => set({ ...said, review: event.currentTarget.checked })} />Have a model review code</label>
            <select aria-label="Language" value={said.language} onChange={(event) => set({ ...said, language: event.currentTarget.value })}>{STAYING.map((one) => <option key={one} value={one}>{LABELS[one]}</option>)}</select>
            <input type="number" min="0" step="any" aria-label="Budget in dollars" placeholder="budget, $" style={{ width: "104px" }} value={said.dollars} onInput={(event) => set({ ...said, dollars: event.currentTarget.value })} />
          </div><button class="primary" disabled={busy || !said.question.trim()}>{busy ? "Asking" : "Ask"}</button></div>
          {problem && <Trouble problem={problem} />}
        </div></form>
        <Show of={list}>{({ items }) => <section class="card" aria-label="Tasks">{items.length === 0 ? <Empty title="Nothing was asked yet">Questions and their answers are kept here.</Empty>
          : <div class="scroll" ref={reach}><table class="list"><thead><tr><th scope="col">Question</th><th scope="col">State</th><th scope="col" class="wide">Model</th><th scope="col" class="num">Asked</th></tr></thead><tbody>{items.map((task) => <tr key={task.id}><td><a href={href("agent", task.id)}>{task.question.slice(0, 140)}</a></td><td><Outcome of={task.state} /></td><td class="wide mono small">{task.model}</td><td class="num soft">{ago(task.created_at)}</td></tr>)}</tbody></table></div>}</section>}</Show>
      </div>
    </>
  );
}

function Talk({ id }: { id: string }) {
  const [items, set] = useState<Item[]>([]);
  const [problem, tell] = useState<Problem | null>(null);
  const [more, write] = useState("");
  const [turn, again] = useState(0);
  const task = useLoad((signal) => get<{ state: string; model: string; session?: string | null; approval?: number | null; usage: TaskUsage }>(`/v1/tasks/${encodeURIComponent(id)}`, signal), [id, turn]);
  const seen = useRef(0);
  const live = LIVE.includes(task.data?.state ?? "running");
  useEffect(() => {
    const end = new AbortController();
    follow(`/v1/tasks/${encodeURIComponent(id)}/events`, end.signal, ({ id: number, event, data }: Sent) => {
      // After a break some are told again.
      if (Number(number) <= seen.current) return;
      seen.current = Number(number);
      if (event === "spent") return;
      set((before) => [...before, { kind: event, data }]);
      if (["approval", "decided", "settled", "question", "running"].includes(event)) task.reload();
      if (event === "settled") end.abort();
    }).catch((error) => tell(problemOf(error)));
    return () => end.abort();
  }, [id, turn]);
  useEvery(3000, () => { if (live) task.reload(); });
  const stop = async () => { try { await send("DELETE", `/v1/tasks/${id}`); task.reload(); } catch (error) { tell(problemOf(error)); } };
  const askOn = async (event: Event) => {
    event.preventDefault();
    if (!more.trim()) return;
    try { await ask("POST", `/v1/tasks/${id}/messages`, { question: more }); write(""); again(turn + 1); } catch (error) { tell(problemOf(error)); }
  };
  const usage = task.data?.usage;
  return (
    <>
      <Head title={<span class="row">Task {task.data && <Outcome of={task.data.state} />}</span>} note={task.data && <span class="small">{task.data.model}{usage && ` · ${usage.turns} turns · ${count(usage.input_tokens + usage.output_tokens)} tokens · ${dollars(usage.dollars)}`}</span>}>
        <a class="button" href={href("agent")}>All tasks</a>{task.data?.session && <a class="button" href={href("sessions", task.data.session)}>Its session</a>}{live && task.data && <button class="danger" onClick={stop}>Stop</button>}
      </Head>
      {(problem ?? task.problem) && <Trouble problem={(problem ?? task.problem)!} />}
      <div class="talk" aria-live="polite">
        {items.map((item, at) => <Step key={at} item={item} task={id} waits={item.kind === "approval" && task.data?.approval === item.data.attempt && !items.slice(at + 1).some((later) => later.kind === "decided" && later.data.attempt === item.data.attempt)} done={task.reload} />)}
        {live && items.length > 0 && items[items.length - 1]!.kind !== "approval" && <p class="soft small"><Outcome of="running" /></p>}
        {!live && task.data && <form class="ask" onSubmit={askOn}><textarea aria-label="Ask on" placeholder="Ask on" value={more} onInput={(event) => write(event.currentTarget.value)} /><button class="primary" disabled={!more.trim()}>Ask</button></form>}
      </div>
    </>
  );
}

function Step({ item: { kind, data }, task, waits, done }: { item: Item; task: string; waits: boolean; done: () => void }) {
  switch (kind) {
    case "question": return <div class="say">{data.text}</div>;
    case "thought": return <div class="step"><Markdown text={data.text ?? ""} /></div>;
    case "code": return <div class="step"><span class="small soft">Attempt {data.attempt} · {data.language}</span><div class="shown"><Code text={data.code ?? ""} language={data.language} /></div></div>;
    case "approval": return waits ? <Approve data={data} task={task} done={done} /> : null;
    case "decided": return <p class="small soft">You said: {data.decision}{data.reason && ` — ${data.reason}`}</p>;
    case "ran": return <div class="step"><div class="row"><Outcome of={data.outcome ?? "failed"} />{data.run && <a class="small" href={`${href("traces")}?of=${data.run}`} aria-label={`Trace of attempt ${data.attempt}`}>trace</a>}</div>{data.output && <Output heard={[{ from: "stdout", text: data.output }]} />}{data.error && <p class="bad small">{data.error}</p>}</div>;
    case "denied": case "refused": return <div class="note warn"><strong>Not run.</strong> {(data.reasons ?? [data.reason]).join(" ")}</div>;
    case "file": return <p class="small soft">{data.done === "wrote" ? "Wrote" : "Read"} <span class="mono">{data.path}</span></p>;
    case "retrying": return <p class="small soft">The model is asked again in {ms(data.wait_ms)}: {data.reason}</p>;
    case "warning": return <div class="note warn">{data.text}</div>;
    case "settled": return data.answer ? <div class="card"><div class="body"><Markdown text={data.answer} /></div></div> : <div class="note bad"><strong>{(data.state ?? "ended").replaceAll("_", " ")}.</strong> {data.error ?? (data.limit ? `The budget of ${data.limit} was used up.` : "")}</div>;
    default: return null;
  }
}

function Approve({ data, task, done }: { data: any; task: string; done: () => void }) {
  const [code, write] = useState<string>(data.code ?? "");
  const [reason, say] = useState("");
  const [problem, tell] = useState<Problem | null>(null);
  const decide = async (decision: string) => {
    try { await send("POST", `/v1/tasks/${task}/approvals/${data.attempt}`, { decision, ...(decision === "deny" ? reason && { reason } : code !== data.code && { code }) }); done(); } catch (error) { tell(problemOf(error)); }
  };
  return (
    <div class="step wait" role="group" aria-label={`May attempt ${data.attempt} run?`}>
      <h3>May this run?</h3>
      <textarea class="code" aria-label="Code to run" rows={Math.min(16, code.split("\n").length + 1)} value={code} onInput={(event) => write(event.currentTarget.value)} />
      <div class="row"><button class="primary" onClick={() => decide("approve")}>{code === data.code ? "Approve" : "Run as edited"}</button><button onClick={() => decide("always")}>Approve all</button><input aria-label="Why not" placeholder="why not (optional)" value={reason} onInput={(event) => say(event.currentTarget.value)} /><button class="danger" onClick={() => decide("deny")}>Refuse</button></div>
      {problem && <Trouble problem={problem} />}
    </div>
  );
}
