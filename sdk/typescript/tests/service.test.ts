/** Everything against a real service, at FIRECLAY_TEST_URL. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Conflict, displayBytes, Fireclay, Rejected, RunFailed, Unauthenticated } from "../src/index.js";
import { all } from "./all.js";

const url = process.env["FIRECLAY_TEST_URL"] ?? assert.fail("FIRECLAY_TEST_URL names no service");
const fc = new Fireclay({ url });

test("a run, and what becomes of it", async () => {
  const run = await fc.run("print('out'); [n * n for n in range(4)]");
  assert.deepEqual([run.ok, run.stdout, run.value, run.check()], [true, "out\n", [0, 1, 4, 9], run]);
  assert.equal((await fc.run("console.log(6 * 7)", { language: "javascript" })).stdout, "42\n");
  assert.equal((await fc.run("#!/bin/bash\necho $0")).language, "bash");
  const failed = await fc.run("1/0");
  assert.deepEqual([failed.ok, failed.outcome, failed.error?.name], [false, "failed", "ZeroDivisionError"]);
  assert.throws(() => failed.check(), (error) => error instanceof RunFailed && error.run === failed);
  assert.equal((await fc.run("while True: pass", { limits: { timeout_ms: 200 } })).outcome, "timed_out");
  // Its abilities are no fields of it.
  assert.deepEqual(Object.keys(JSON.parse(JSON.stringify(run))).filter((key) => ["ok", "value", "check"].includes(key)), []);
});

test("files go in and come out", async () => {
  const code = "open('d.bin', 'wb').write(open('in.bin', 'rb').read()[::-1] + open('in.txt', 'rb').read())";
  const run = await fc.run(code, { files: { "in.bin": new Uint8Array([0, 255, 10]), "in.txt": "é" } });
  assert.deepEqual(run.artifacts.map((file) => file.path), ["d.bin"]);
  assert.deepEqual([...(await fc.runs.artifact(run, "d.bin"))], [10, 255, 0, 0xc3, 0xa9]);
});

test("events come as they happen", async () => {
  const stream = fc.stream("import sys\nprint('a', flush=True)\nsys.stdout.buffer.write(b'\\xff')");
  const kinds: string[] = [];
  const bytes: number[] = [];
  for await (const event of stream) {
    kinds.push(event.kind);
    if (event.kind === "stdout") bytes.push(...event.data);
  }
  assert.deepEqual([kinds[0], kinds.at(-1)], ["started", "settled"]);
  assert.deepEqual(bytes, [97, 10, 255]);
  assert.ok(stream.result.ok);
  const again = await fc.runs.wait(stream.runId ?? "");
  assert.equal(again.id, stream.result.id);
});

test("runs that nobody waits for", async () => {
  const submitted = await fc.runs.submit({ code: "print(input())", language: "python", stdin: "x", metadata: { k: "ts" } });
  assert.equal((await fc.runs.wait(submitted.id)).stdout, "x\n");
  const listed = await all(fc.runs.list({ metadata: "k=ts", limit: 1 }));
  assert.ok(listed.some((run) => run.id === submitted.id));
  const long = await fc.runs.submit({ code: "import time; time.sleep(60)", language: "python" });
  await fc.runs.remove(long.id);
  assert.equal((await fc.runs.wait(long.id)).outcome, "cancelled");
});

test("a session keeps state and files", async () => {
  let id: string;
  {
    await using s = await fc.session({ name: "ts" });
    id = s.id;
    await s.run("x = 41");
    assert.equal((await s.run("x + 1")).value, 42);
    await s.files.write("data/in.txt", "1 2 3");
    await s.run("open('sum.txt', 'w').write(str(sum(map(int, open('data/in.txt').read().split()))))");
    assert.equal(await s.files.readText("sum.txt"), "6");
    await s.files.move("sum.txt", "kept/total.txt");
    await s.files.mkdir("empty");
    const listed = await s.files.list("", { recursive: true });
    assert.deepEqual(listed.items.map((file) => file.path).sort(), ["data", "data/in.txt", "empty", "kept", "kept/total.txt"]);
    const pieces = await all(await s.files.stream("kept/total.txt"));
    assert.equal(new TextDecoder().decode(pieces[0]), "6");
    await s.files.remove("data");
    const squares = await all(s.map("print(int(input()) ** 2)", ["1", "2", "3"], { concurrency: 2 }));
    assert.deepEqual(squares.map((run) => run.stdout), ["1\n", "4\n", "9\n"]);
    const endless = s.stream("n = 0\nprint('on', flush=True)\nwhile True: n += 1");
    let interrupted: boolean | undefined;
    for await (const event of endless) {
      // What it prints may come in two pieces.
      if (event.kind === "stdout") interrupted ??= await s.interrupt(endless);
    }
    assert.deepEqual([interrupted, endless.result.outcome], [true, "cancelled"]);
    assert.equal((await s.run("n > 0")).value, true);
    await s.restart();
    assert.equal((await s.run("n")).error?.name, "NameError");
    assert.equal((await (await fc.sessions.open(id)).look()).state, "open");
  }
  const ended = await fc.sessions.open(id);
  assert.equal(ended.view.state, "ended");
  assert.equal(await ended.files.readText("kept/total.txt"), "6");
  await assert.rejects(ended.run("1"), Conflict);
  assert.equal((await ended.close()).state, "ended");
});

test("displays are decoded", async () => {
  const code = "class P:\n  def _repr_png_(self): return b'\\x89PNG'\n  def _repr_html_(self): return '<b>é</b>'\nP()";
  await using s = await fc.session();
  const [display] = (await s.run(code)).displays;
  if (display) assert.deepEqual([...displayBytes(display as Record<string, unknown>)].slice(0, 4), [0x89, 0x50, 0x4e, 0x47]);
});

test("many at once", async () => {
  const runs = await all(fc.map("print(int(input()) * 2)", Array.from({ length: 20 }, (_, n) => String(n))));
  assert.deepEqual(runs.map((run) => Number(run.stdout)), Array.from({ length: 20 }, (_, n) => n * 2));
  const graded = fc.batch([
    { id: "double", program: { language: "python", code: "print(int(input()) * 2)" }, cases: [{ stdin: "2", expected: "4" }, { stdin: "3", expected: "7" }] },
  ]);
  const answers = await all(graded);
  assert.deepEqual([answers[0]?.id, answers[0]?.verdict, graded.summary?.answered], ["double", "wrong_answer", 1]);
  const alone = await fc.batches.submit([{ code: "print(1)", language: "python" }]);
  for (;;) {
    const { state } = await fc.batches.get(alone.id);
    if (state !== "running") break;
  }
  assert.deepEqual((await all(fc.batches.answers(alone.id))).map((answer) => answer.run?.stdout), ["1\n"]);
  await assert.rejects(async () => {
    for await (const _ of fc.map("x", ["1"], { language: "cobol" as "python" }));
  }, Rejected);
});

test("the service says what is wrong", async () => {
  await assert.rejects(fc.run("1", { language: "cobol" as "python" }), (error) => error instanceof Rejected && error.status === 422 && error.problem.field === "language");
  await assert.rejects(new Fireclay({ url, apiKey: "fc_wrong" }).run("1"), Unauthenticated);
  assert.equal(typeof (await fc.version()).version, "string");
  assert.ok((await fc.limits()).limits.timeout_ms > 0);
});
