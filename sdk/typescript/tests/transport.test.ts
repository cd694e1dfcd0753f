/** When a request is sent again and when not, and what errors carry. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Conflict, Faulted, Fireclay, FireclayError, NotFound, Rejected, RunFaulted, TooMany, Unreachable } from "../src/index.js";
import { waitBeforeRetry } from "../src/transport.js";
import { all } from "./all.js";
import { broken, events, FakeService, problem, refused, SETTLED } from "./fake.js";

// Nothing here waits: what is asked for is what counts.
globalThis.setTimeout = ((go: () => void, ms?: number) => {
  if (ms !== undefined && ms <= 30_000) queueMicrotask(go);
}) as unknown as typeof setTimeout;

test("a problem is an error that carries its document", async () => {
  const service = new FakeService(problem(404, { field: "id" }), problem(409), problem(422), problem(500));
  const fc = service.client();
  const error: NotFound = await fc.runs.get("run_0").then(() => assert.fail(), (error) => error);
  assert.ok(error instanceof NotFound && error instanceof Rejected && error.name === "NotFound");
  assert.equal(error.message, "what is wrong (id); what to do");
  assert.equal(error.problem.type, "/problems/x");
  assert.equal(service.asked[0]?.headers.get("authorization"), "Bearer fc_key");
  await assert.rejects(fc.run("1"), Conflict);
  await assert.rejects(fc.run("1"), Rejected);
  await assert.rejects(fc.run("1"), Faulted);
  assert.equal(service.asked.length, 4);
});

test("what was not taken is sent again, with the same key", async () => {
  const busy = () => problem(429, {}, { "retry-after": "2" });
  const service = new FakeService(refused(), busy(), problem(503, { retry_safe: true }), Response.json(SETTLED));
  assert.equal((await service.client().run("1")).stdout, "out\n");
  const keys = service.asked.map(({ headers }) => headers.get("idempotency-key"));
  assert.equal(keys.length, 4);
  assert.equal(new Set(keys).size, 1);
  await assert.rejects(new FakeService(busy(), busy()).client(1).run("1"), TooMany);
});

test("what may have been done is sent again only if twice is once", async () => {
  const reads = new FakeService(broken(), Response.json({ items: [] }));
  assert.deepEqual(await all(reads.client().runs.list()), []);
  const removes = new FakeService(broken());
  await assert.rejects(removes.client().runs.remove("run_1"), Unreachable);
  assert.equal(removes.asked.length, 1);
  const opens = new FakeService(broken());
  await assert.rejects(opens.client().session(), /ask http:\/\/there: other side closed/);
  assert.equal(opens.asked.length, 1);
});

test("a fault that may pass is tried again as another run", async () => {
  const faulted = (retry_safe: boolean) => {
    const fault = { code: "internal", message: "no luck", retry_safe };
    return Response.json({ ...SETTLED, outcome: null, fault });
  };
  const service = new FakeService(faulted(true), Response.json(SETTLED));
  await service.client().run("1");
  assert.notEqual(service.asked[0]?.headers.get("idempotency-key"), service.asked[1]?.headers.get("idempotency-key"));
  await assert.rejects(new FakeService(faulted(false)).client().run("1"), RunFaulted);
  await assert.rejects(new FakeService(faulted(true)).client().run("1", { idempotencyKey: "mine" }), /internal: no luck/);
});

test("a stream is taken up where it broke", async () => {
  const first = events([1, "started", {}], [2, "stdout", { text: "a" }]);
  const second = events([3, "stderr", { base64: "/w==" }], [4, "settled", SETTLED]);
  const service = new FakeService(first, second);
  const stream = service.client().stream("1");
  const seen = await all(stream);
  assert.deepEqual(seen.map((event) => `${event.id} ${event.kind}`), ["1 started", "2 stdout", "3 stderr", "4 settled"]);
  assert.deepEqual(seen.flatMap((event) => ("data" in event ? [...event.data] : [])), [97, 255]);
  assert.equal(stream.result.value, "a");
  const [, again] = service.asked;
  assert.deepEqual([again?.method, again?.path, again?.headers.get("last-event-id")], ["GET", "/v1/runs/run_1/events", "2"]);
});

test("a stream's end may be a problem, and a stream that never ends is an error", async () => {
  const problems = new FakeService(events([1, "problem", { title: "t", status: 500, detail: "not recorded", hint: "" }]));
  await assert.rejects(problems.client().stream("1").done(), /not recorded/);
  const nothing = new FakeService(events(), events());
  await assert.rejects(nothing.client(1).stream("1").done(), Unreachable);
});

test("a batch that breaks off is an error and is not sent again", async () => {
  const service = new FakeService(new Response('{"batch":"bat_1"}\n{"index":0,"verdict":"completed"}\n'));
  const batch = service.client().batch([{ code: "1" }]);
  const verdicts: string[] = [];
  await assert.rejects(async () => {
    for await (const answer of batch) verdicts.push(answer.verdict);
  }, /the answers of bat_1 broke off/);
  assert.deepEqual(verdicts, ["completed"]);
  assert.equal(service.asked[0]?.body, '{"code":"1"}\n');
});

test("waits double and are never longer than half a minute", () => {
  const waits = [0, 1, 2, 20].map((attempt) => waitBeforeRetry(new Unreachable("x"), attempt, true) ?? 0);
  assert.ok(waits.every((wait, n) => wait >= [125, 250, 500, 15_000][n]! && wait <= [250, 500, 1000, 30_000][n]!), `${waits}`);
  assert.equal(waitBeforeRetry(new TooMany({ title: "", type: "", status: 429, detail: "", hint: "" }, 99_000), 0, false), 30_000);
  assert.equal(waitBeforeRetry(new Unreachable("x"), 0, false), undefined);
  assert.equal(waitBeforeRetry(new Error("x"), 0, true), undefined);
});

test("what is given up is not sent again", async () => {
  const gone = new AbortController();
  gone.abort();
  const service = new FakeService(broken());
  await assert.rejects(service.client().run("1", { signal: gone.signal }));
  assert.equal(service.asked.length, 1);
});

test("where the service is", () => {
  delete process.env["FIRECLAY_URL"];
  assert.throws(() => new Fireclay(), /set FIRECLAY_URL/);
  assert.throws(() => new Fireclay({ url: "localhost:8000" }), /http:\/\/HOST:PORT/);
  process.env["FIRECLAY_URL"] = "http://there:1/";
  assert.equal(new Fireclay().url, "http://there:1");
  delete process.env["FIRECLAY_URL"];
});

test("what others answer is told", async () => {
  const proxy = new FakeService(new Response("<h1>Bad gateway</h1>", { status: 502 }), new Response("no json"));
  await assert.rejects(proxy.client().version(), /Bad gateway/);
  await assert.rejects(proxy.client().version(), FireclayError);
});

test("names are parts of an address, and dots are none", async () => {
  const service = new FakeService(new Response("x"));
  await service.client().runs.artifact("run_1", "a b/ü?#.txt");
  assert.equal(service.asked[0]?.path, "/v1/runs/run_1/artifacts/a%20b/%C3%BC%3F%23.txt");
  await assert.rejects(service.client().runs.artifact("run_1", "a/../b"), RangeError);
});
