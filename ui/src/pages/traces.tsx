// What ran: a list that goes on by itself, found by words and by what became of it. The filters are in the address.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { follow, get, LABELS, LANGUAGES, query, type Page, type Problem, type TraceRow } from "../api";
import { go, href, setArgs, useRoute } from "../route";
import { clock, count, dollars, ms } from "../words";
import { Empty, Head, Outcome, problemOf, Trouble, Wait } from "../pieces/basic";

const OUTCOMES = ["running", "completed", "answered", "failed", "setup_failed", "timed_out", "memory_exceeded", "output_exceeded", "disk_exceeded", "budget_exceeded", "signalled", "denied", "cancelled", "interrupted", "fault", "closed", "idle", "expired"];
const FILTERS = ["q", "of", "outcome", "language", "kind", "model", "tenant", "since", "until", "min_ms", "max_ms", "min_cost", "max_cost", "imported"];
/** So many are in the page at once; older ones are asked for. */
const PAGE = 100;
/** With more than so many that came by themselves, the list begins anew. */
const MOST = 2000;
/** A search looks at a bounded part of the traces at once; so many parts are looked at before somebody is asked. */
const LOOKS = 5;

export function Traces() {
  const { args } = useRoute();
  const asked = Object.fromEntries(FILTERS.map((name) => [name, args.get(name)]));
  const key = JSON.stringify(asked);
  const filtered = Object.values(asked).some(Boolean);
  const [rows, set] = useState<TraceRow[] | null>(null);
  const [next, more] = useState<string | null>(null);
  const [problem, tell] = useState<Problem | null>(null);
  const [live, follows] = useState(true);
  const [fresh, note] = useState<Set<string>>(new Set());
  const [chosen, choose] = useState<string[]>([]);
  const [busy, wait] = useState(false);
  const typed = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);

  // Whether somebody asked for older ones: then none is taken away.
  const paged = useRef(false);
  const length = useRef(0);
  length.current = rows?.length ?? 0;

  const load = async (cursor: string | null, signal?: AbortSignal) => {
    wait(true);
    paged.current = cursor !== null;
    try {
      let found: TraceRow[] = [], at = cursor;
      for (let look = 0; look < LOOKS; look += 1) {
        const page = await get<Page<TraceRow>>(`/v1/traces${query({ ...asked, limit: PAGE, cursor: at })}`, signal);
        [found, at] = [page.items, page.next ?? null];
        if (found.length > 0 || at === null) break;
      }
      set((before) => (cursor ? [...(before ?? []), ...found] : found));
      more(at);
      tell(null);
    } catch (error) {
      if (!signal?.aborted) tell(problemOf(error));
    } finally {
      wait(false);
    }
  };
  useEffect(() => { const end = new AbortController(); set(null); load(null, end.signal); return () => end.abort(); }, [key]);
  useEffect(() => {
    if (!live) return;
    const end = new AbortController();
    follow("/v1/traces/events", end.signal, ({ event, data }) => {
      if (event === "removed") set((before) => before?.filter((row) => row.id !== data.id) ?? null);
      if (event !== "trace") return;
      const belongs = matches(data, asked);
      set((before) => {
        if (!before) return before;
        const at = before.findIndex((row) => row.id === data.id);
        if (at >= 0) return before.map((row, n) => (n === at ? data : row));
        return belongs ? [data, ...before] : before;
      });
      if (!belongs) return;
      // From the first page on: so what comes after the last row is still known.
      if (length.current > MOST && !paged.current) load(null, end.signal);
      note((before) => new Set([...before].slice(-50)).add(data.id));
    }).catch(() => follows(false));
    return () => end.abort();
  }, [live, key]);

  const filter = (name: string, options: string[], label: string, labels: Record<string, string> = {}) => (
    <select aria-label={label} value={asked[name] ?? ""} onChange={(event) => setArgs({ [name]: event.currentTarget.value || null })}>
      <option value="">{label}</option>{options.map((one) => <option key={one} value={one}>{labels[one] ?? one.replaceAll("_", " ")}</option>)}
    </select>
  );
  const pick = (id: string, on: boolean) => choose((before) => (on ? [...before.slice(-1), id] : before.filter((one) => one !== id)));

  const line = (row: TraceRow) => (
    <div key={row.id} class={fresh.has(row.id) ? "trace-row fresh" : "trace-row"}>
      <input type="checkbox" aria-label={`Choose ${row.name} of ${clock(row.started_at)} to compare`} checked={chosen.includes(row.id)} onChange={(event) => pick(row.id, event.currentTarget.checked)} />
      <span><Outcome of={row.outcome ?? "running"} /></span>
      <a class="what" href={`${href("traces", row.id)}${query({ run: asked.of })}`}><b>{row.name}</b><code class="clip">{row.input_preview.replace(/\s+/g, " ")}</code></a>
      <span class="right took">{ms(row.duration_ms)}</span><span class="right cost soft">{row.cost_usd ? dollars(row.cost_usd) : ""}</span><span class="right soft nowrap time">{clock(row.started_at)}</span>
    </div>
  );

  return (
    <>
      <Head title="Traces" note="Every run, session, task and batch, with its steps.">
        {chosen.length === 2 && <button onClick={() => go(`${href("compare")}?a=${chosen[0]}&b=${chosen[1]}`)}>Compare two</button>}
        <button class="live-switch" aria-pressed={live} onClick={() => follows(!live)}>{live ? "Live" : "Paused"}</button>
      </Head>
      <section class="card" aria-label="Traces">
        <div class="filters" role="search">
          <input type="search" aria-label="Search traces" placeholder="Search code, output, ids…" value={asked.q ?? ""} onInput={(event) => { const said = event.currentTarget.value; clearTimeout(typed.current); typed.current = setTimeout(() => setArgs({ q: said || null }), 250); }} />
          {filter("outcome", OUTCOMES, "Any outcome")}{filter("kind", ["run", "session", "task", "batch"], "Any kind")}{filter("language", LANGUAGES, "Any language", LABELS)}
          <select aria-label="Shortest duration" value={asked.min_ms ?? ""} onChange={(event) => setArgs({ min_ms: event.currentTarget.value || null })}><option value="">Any duration</option><option value="100">over 100 ms</option><option value="1000">over 1 s</option><option value="10000">over 10 s</option></select>
          {asked.of && <span class="small soft">with <code>{asked.of.slice(0, 14)}…</code> in it</span>}
          {filtered && <button class="quiet" onClick={() => setArgs(Object.fromEntries(FILTERS.map((name) => [name, null])))}>Clear</button>}
        </div>
        {problem && <div class="body"><Trouble problem={problem} retry={() => load(null)} /></div>}
        {rows === null && !problem && <Wait lines={8} />}
        {rows?.length === 0 && (next ? <Empty title="Nothing found yet" actions={<button class="primary" disabled={busy} onClick={() => load(next)}>{busy ? "Searching" : "Search further"}</button>}>No trace of those that were looked at has all of this. There are older ones.</Empty>
          : filtered ? <Empty title="Nothing matches" actions={<button onClick={() => setArgs(Object.fromEntries(FILTERS.map((name) => [name, null])))}>Clear the filters</button>}>No trace has all of this.</Empty>
          : <Empty title="Nothing has run yet" actions={<a class="button" href={href("play")}>Open the playground</a>}>Runs appear here as they happen, whoever asked for them.</Empty>)}
        {rows && rows.length > 0 && (
          <div class="trace-rows">
            <div class="trace-row trace-head" aria-hidden="true"><span /><span>Outcome</span><span>What</span><span class="right">Took</span><span class="right">Cost</span><span class="right">Began</span></div>
            {chunks(rows).map((some, at) => <Chunk key={at} rows={some} kept={at < 2} row={line} />)}
          </div>
        )}
      </section>
      {rows && rows.length > 0 && <div class="row soft" style={{ justifyContent: "center", marginTop: "16px" }}><span role="status">{count(rows.length)} shown</span>{next && <button disabled={busy} onClick={() => load(next)}>{busy ? "Loading" : "Older traces"}</button>}</div>}
    </>
  );
}

function chunks(rows: TraceRow[]): TraceRow[][] {
  return Array.from({ length: Math.ceil(rows.length / PAGE) }, (_, at) => rows.slice(at * PAGE, (at + 1) * PAGE));
}

/** Rows that are in the page only while they are near what is seen; else a space as high as they were. */
function Chunk({ rows, kept, row }: { rows: TraceRow[]; kept: boolean; row: (row: TraceRow) => ComponentChildren }) {
  const own = useRef<HTMLDivElement>(null);
  const height = useRef(0);
  const [near, set] = useState(true);
  useEffect(() => {
    if (kept) return;
    const watch = new IntersectionObserver(([seen]) => {
      if (!seen!.isIntersecting && own.current) height.current = own.current.offsetHeight;
      set(seen!.isIntersecting);
    }, { rootMargin: "1200px" });
    watch.observe(own.current!);
    return () => watch.disconnect();
  }, [kept]);
  return <div ref={own} style={near || kept ? undefined : { height: `${height.current}px` }}>{near || kept ? rows.map(row) : null}</div>;
}

/** Whether a row that was told of belongs into the list; words are only the service's to search. */
function matches(row: TraceRow, asked: Record<string, string | null>): boolean {
  if (asked.of && row.of !== asked.of) return false;
  if (asked.q || asked.since || asked.until || asked.min_cost || asked.max_cost) return false;
  if (asked.min_ms && (row.duration_ms ?? 0) < Number(asked.min_ms)) return false;
  if (asked.max_ms && (row.duration_ms ?? 0) > Number(asked.max_ms)) return false;
  return (["outcome", "language", "kind", "model", "tenant"] as const).every((name) => !asked[name] || (name === "outcome" ? (row.outcome ?? "running") : row[name]) === asked[name]);
}
