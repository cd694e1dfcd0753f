// Sandboxes that stay: which there are, and a new one.
import { useState } from "preact/hooks";
import { get, LABELS, query, send, STAYING, type Page, type Problem, type SessionView } from "../api";
import { go, href, setArgs, useRoute } from "../route";
import { ago, clock } from "../words";
import { Dialog, Empty, Field, Head, Outcome, problemOf, Segment, reach, Show, Trouble, useEvery, useLoad } from "../pieces/basic";

export function Sessions() {
  const { args } = useRoute();
  const state = (args.get("state") ?? "open") as "open" | "ended";
  const [making, make] = useState(false);
  const list = useLoad((signal) => get<Page<SessionView>>(`/v1/sessions${query({ state, limit: 100 })}`, signal), [state]);
  useEvery(4000, list.reload);
  return (
    <>
      <Head title="Sessions" note="Sandboxes that stay: variables and files survive between runs.">
        <Segment label="State" options={[["open", "Open"], ["ended", "Ended"]]} value={state} choose={(one) => setArgs({ state: one === "open" ? null : one })} />
        <button class="primary" onClick={() => make(true)}>New session</button>
      </Head>
      <Show of={list}>{({ items }) => <section class="card" aria-label="Sessions">{items.length === 0
        ? <Empty title={state === "open" ? "No session is open" : "No session has ended"} actions={state === "open" && <button onClick={() => make(true)}>New session</button>}>A session keeps what a program made: for notebooks, agents and terminals.</Empty>
        : <div class="scroll" ref={reach}><table class="list"><thead><tr><th scope="col">Session</th><th scope="col">State</th><th scope="col" class="wide">Template</th><th scope="col" class="num">Runs</th><th scope="col" class="num">{state === "open" ? "Ends" : "Ended"}</th></tr></thead>
          <tbody>{items.map((one) => <tr key={one.id}><td><a href={href("sessions", one.id)}>{one.name || <span class="mono">{one.id.slice(0, 14)}…</span>}</a><div class="small soft">{ago(one.created_at)}</div></td><td><Outcome of={one.runs.running > 0 ? "running" : one.state} /></td><td class="wide">{one.template}</td><td class="num">{one.runs.completed}{one.runs.failed > 0 && <span class="bad"> + {one.runs.failed}</span>}</td><td class="num soft">{clock(one.end?.at ?? one.ends_at ?? one.expires_at)}</td></tr>)}</tbody></table></div>}</section>}</Show>
      {making && <Make close={() => make(false)} />}
    </>
  );
}

function Make({ close }: { close: () => void }) {
  const [said, set] = useState({ name: "", language: "python", packages: "", hosts: "", minutes: "" });
  const [problem, tell] = useState<Problem | null>(null);
  const [busy, wait] = useState(false);
  const put = (part: Partial<typeof said>) => set({ ...said, ...part });
  const make = async (event: Event) => {
    event.preventDefault();
    wait(true);
    const words = (text: string) => text.split(/[\s,]+/).filter(Boolean);
    try {
      const made = await send<SessionView>("POST", "/v1/sessions", { name: said.name, language: said.language, ...(words(said.packages).length && { packages: words(said.packages) }), ...(words(said.hosts).length && { egress: { allow: words(said.hosts) } }), ...(Number(said.minutes) > 0 && { idle_ttl_ms: Math.round(Number(said.minutes) * 60_000) }) });
      go(href("sessions", made.id));
    } catch (error) { tell(problemOf(error)); wait(false); }
  };
  return (
    <Dialog label="New session" close={close}><form class="stack" onSubmit={make}>
      <h2>New session</h2>
      <div class="fields">
        <Field label="Name"><input value={said.name} placeholder="glaze experiments" onInput={(event) => put({ name: event.currentTarget.value })} /></Field>
        <Field label="Language"><select value={said.language} onChange={(event) => put({ language: event.currentTarget.value })}>{STAYING.map((one) => <option key={one} value={one}>{LABELS[one]}</option>)}</select></Field>
        <Field label="Packages" hint="names, apart by spaces"><input class="code" value={said.packages} onInput={(event) => put({ packages: event.currentTarget.value })} /></Field>
        <Field label="Hosts it may reach" hint="none: no network"><input class="code" value={said.hosts} onInput={(event) => put({ hosts: event.currentTarget.value })} /></Field>
        <Field label="Ends when idle, minutes"><input type="number" min="1" value={said.minutes} onInput={(event) => put({ minutes: event.currentTarget.value })} /></Field>
      </div>
      {problem && <Trouble problem={problem} />}
      <div class="row between"><button type="button" onClick={close}>Cancel</button><button class="primary" disabled={busy}>{busy ? "Opening" : "Open"}</button></div>
    </form></Dialog>
  );
}
