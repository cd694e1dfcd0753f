// Traces as /v1/traces answers them, made up: for what no real service has within a test, such as ten thousand of them.

const OUTCOMES = ["completed", "completed", "completed", "completed", "failed", "completed", "timed_out", "completed", "memory_exceeded", "denied"];
const CODE = ["import math\nprint(math.pi)", "total = sum(range(1_000_000))\nprint(total)", "for path in sorted(os.listdir('.')):\n    print(path)", "await fetch('https://example.com')", "df.groupby('cone').mean()"];
const START = Date.parse("2026-11-22T12:00:00Z");

export function row(at) {
  const outcome = at === 0 ? null : OUTCOMES[at % OUTCOMES.length];
  const kind = at % 17 === 3 ? "task" : at % 11 === 5 ? "session" : "run";
  const language = at % 4 === 3 ? "javascript" : "python";
  const took = outcome === null ? null : outcome === "timed_out" ? 20_003.4 : 4 + ((at * 7919) % 900);
  const began = START - at * 4000;
  return {
    id: at.toString(16).padStart(32, "0"), kind, of: `${kind === "session" ? "ses" : kind}_${String(at).padStart(26, "0")}`, name: kind === "task" ? "task" : `${language} run`, tenant: "local", outcome,
    language, model: kind === "task" ? "openai:gpt-5-mini" : null, started_at: new Date(began).toISOString(), ended_at: took === null ? null : new Date(began + took).toISOString(), duration_ms: took,
    tokens_in: kind === "task" ? 1832 : null, tokens_out: kind === "task" ? 411 : null, cost_usd: kind === "task" ? 0.0031 : null, spans: 6, input_preview: CODE[at % CODE.length], output_preview: outcome === "failed" ? "ZeroDivisionError: division by zero" : "3.141592653589793", remark: null, imported: false,
  };
}

export function whole(at) {
  const own = row(at);
  const end = own.duration_ms ?? 900;
  const span = (id, name, from, to, more = {}) => ({ id: String(id).padStart(16, "0"), parent: null, name, kind: "internal", started_at: own.started_at, ended_at: own.ended_at, offset_ms: end * from, duration_ms: end * (to - from), status: "ok", message: null, attributes: {}, input: null, output: null, events: [], children: [], ...more });
  const failed = own.outcome === "failed";
  return {
    ...own, tree: [span(1, own.name, 0, 1, {
      kind: "server", status: failed ? "error" : "ok", message: failed ? "ZeroDivisionError: division by zero" : null, attributes: { "fireclay.outcome": own.outcome, "code.language": own.language, "fireclay.run.id": own.of },
      input: { media_type: `text/x-${own.language}`, text: `${own.input_preview}\n`, truncated: false, bytes: own.input_preview.length + 1 }, output: { media_type: "text/plain", text: `${own.output_preview}\n`, truncated: false, bytes: 18 },
      children: [
        span(2, "admission", 0, 0.02), span(3, "check", 0.02, 0.08, { output: { media_type: "application/json", text: '{"findings":[],"policy":"default"}', truncated: false, bytes: 34 } }), span(4, "queue", 0.08, 0.1), span(5, "lease", 0.1, 0.18, { attributes: { "fireclay.start": "warm" }, children: [span(6, "fork", 0.12, 0.17)] }),
        span(7, "execution", 0.18, 0.9, { status: failed ? "error" : "ok", events: [{ name: "stdout", at: own.started_at, attributes: { bytes: 18 } }], children: [span(8, "egress example.com:443", 0.3, 0.55, { kind: "client" })] }), span(9, "artifacts", 0.9, 0.99),
      ],
    })],
  };
}

export function summary(count = 1284) {
  const rows = Array.from({ length: 400 }, (_, at) => row(at));
  const buckets = Array.from({ length: 60 }, (_, at) => ({ at: new Date(START - (60 - at) * 60_000).toISOString(), by_outcome: { completed: 12 + Math.round(8 * Math.sin(at / 5)) + (at % 3), failed: at % 4, timed_out: at % 9 === 0 ? 2 : 0, memory_exceeded: at % 13 === 0 ? 1 : 0 }, p50: 18 + 4 * Math.sin(at / 7), p99: 240 + 90 * Math.sin(at / 3) + (at === 41 ? 700 : 0), cost_usd: 0.002 }));
  const sum = {};
  for (const one of buckets) for (const [name, number] of Object.entries(one.by_outcome)) sum[name] = (sum[name] ?? 0) + number;
  return {
    total: count, running: 3, well: sum.completed, by_outcome: sum, duration_ms: { p50: 18.4, p90: 96, p99: 612.5, max: 20_003 }, tokens_in: 183_200, tokens_out: 41_100, cost_usd: 0.412,
    models: [{ model: "openai:gpt-5-mini", calls: 61, failed: 2, tokens_in: 183_200, tokens_out: 41_100, cost_usd: 0.412, duration_ms_mean: 2310 }], buckets, failed_lately: rows.filter((one) => one.outcome === "failed").slice(0, 6),
  };
}

/** Nodes of a cluster, as /v1/nodes answers them: one as it should be, one that takes nothing, one that is late. */
export const NODES = [
  { name: "g1", gateway: true, worker: true, state: "ready", version: "0.1.0", places: 8, running: 3, queued: 0, sessions: 2, sessions_max: 32, seen_at: new Date().toISOString() },
  { name: "w1", gateway: false, worker: true, state: "cordoned", version: "0.1.0", places: 16, running: 0, queued: 5, sessions: 0, sessions_max: 64, seen_at: new Date().toISOString() },
  { name: "w2", gateway: false, worker: true, state: "ready", version: "0.1.0", places: 16, running: 1, queued: 0, sessions: 0, sessions_max: 64, seen_at: new Date(Date.now() - 12_000).toISOString() },
];

/** Has a page see these instead of the service's. Traces in `told` come by themselves; `q=deep` finds one behind `depth` pages with nothing. */
export async function serve(page, { count = 10_000, empty = false, told = [], depth = 0 } = {}) {
  const json = (route, body, status = 200) => route.fulfill({ status, contentType: "application/json", body: JSON.stringify(body) });
  await page.route(/\/v1\/traces(\/|\?|$)/, (route) => {
    const url = new URL(route.request().url());
    const [, , , id] = url.pathname.split("/");
    // What really ran is the service's to tell.
    if (url.searchParams.has("of") || (id?.length === 32 && !id.startsWith("0".repeat(24)))) return route.continue();
    if (id === "events") return route.fulfill({ status: 200, contentType: "text/event-stream", body: `: nothing\n\n${told.splice(0).map((one) => `event: trace\ndata: ${JSON.stringify(one)}\n\n`).join("")}` });
    if (id === "summary") return json(route, empty ? { ...summary(0), total: 0 } : summary());
    if (id) return json(route, whole(Number.parseInt(id, 16)));
    if (empty) return json(route, { items: [], next: null });
    const from = Number(url.searchParams.get("cursor") ?? 0), most = Number(url.searchParams.get("limit") ?? 100);
    const outcome = url.searchParams.get("outcome"), q = url.searchParams.get("q");
    if (q === "deep") return json(route, from < depth ? { items: [], next: String(from + 1) } : { items: [row(7)], next: null });
    const items = [];
    let at = from;
    for (; at < count && items.length < most; at += 1) {
      const one = row(at);
      if ((!outcome || one.outcome === outcome) && (!q || JSON.stringify(one).includes(q))) items.push(one);
    }
    return json(route, { items, next: at < count ? String(at) : null });
  });
}
