/** In a real browser: Debian's Chromium, which scripts/test-dependencies installs. A page's own server hands on what the page asks of the
 * service, whose answers no page of another origin can read. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";

const url = new URL(process.env["FIRECLAY_TEST_URL"] ?? assert.fail("FIRECLAY_TEST_URL names no service"));

/** What the page does; the answer of each step is told to its server. */
const PAGE = `<!doctype html><title>page</title><script type="module">
let said;
try {
  const { Fireclay } = await import("/dist/index.js");
  const fc = new Fireclay({ url: location.origin });
  const run = await fc.run("print(sum(range(101)))", { files: { "in.txt": "é" } });
  const kinds = [];
  for await (const event of fc.stream("print('a', flush=True)")) kinds.push(event.kind);
  const session = await fc.session();
  await session.run("x = 20");
  const state = (await session.run("x + 1")).value;
  await session.files.write("a.bin", new Uint8Array([0, 255]));
  const bytes = [...await session.files.read("a.bin")];
  await session.close();
  said = { stdout: run.stdout, kinds: [kinds[0], kinds.at(-1)], state, bytes, hasNode: "process" in globalThis };
} catch (error) {
  said = { error: String(error?.stack ?? error) };
}
await fetch("/said", { method: "POST", body: JSON.stringify(said) });
</script>`;

test("a page uses it", { timeout: 60_000 }, async (t) => {
  let tell: (said: string) => void;
  const said = new Promise<string>((resolve) => (tell = resolve));
  const server = createServer((asked, answer) => {
    if (asked.url === "/") return void answer.setHeader("content-type", "text/html").end(PAGE);
    if (asked.url === "/said") {
      return void text(asked).then((words) => {
        answer.end();
        tell(words);
      });
    }
    if (asked.url?.startsWith("/dist/")) return void script(asked.url, answer);
    handOn(asked, answer);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close().closeAllConnections());
  const profile = await mkdtemp(join(tmpdir(), "browser-"));
  const page = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"];
  const browser = spawn("chromium", [...options, "--remote-debugging-port=0", `--user-data-dir=${profile}`, page], {
    stdio: "ignore",
    env: { ...process.env, TMPDIR: profile },
  });
  t.after(async () => {
    browser.kill("SIGKILL");
    if (browser.exitCode === null && browser.signalCode === null) await once(browser, "exit");
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  const gone = once(browser, "exit").then(([code]) => assert.fail(`the browser ended with ${code}`));
  const expected = { stdout: "5050\n", kinds: ["started", "settled"], state: 21, bytes: [0, 255], hasNode: false };
  assert.deepEqual(JSON.parse(await Promise.race([said, gone])), expected);
  gone.catch(() => undefined);
});

/** One of the package's files. */
async function script(path: string, answer: ServerResponse): Promise<void> {
  const name = /^\/dist\/([a-z0-9_]+\.js)$/.exec(path)?.[1] ?? assert.fail(path);
  answer.setHeader("content-type", "text/javascript").end(await readFile(new URL(`../../dist/${name}`, import.meta.url)));
}

/** Asks the service what the page asks, without saying what page that is. */
function handOn(asked: IncomingMessage, answer: ServerResponse): void {
  const { host: _, origin: __, ...headers } = asked.headers;
  const named = Object.entries(headers).filter(([name]) => !name.startsWith("sec-fetch-"));
  const options = { host: url.hostname, port: url.port, method: asked.method, path: asked.url, headers: Object.fromEntries(named) };
  const onwards = request(options, (answered) => {
    answer.writeHead(answered.statusCode ?? 502, answered.headers);
    answered.pipe(answer);
  });
  onwards.on("error", () => answer.destroy());
  asked.pipe(onwards);
}
