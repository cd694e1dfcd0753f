// Attacks of the catalogue (AP) on whoever has a browser, beside those among the journeys of console.mjs; each with a control that succeeds.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** A server that notes what is asked of it, and answers with what `pages` has. */
async function canary(pages = {}) {
  const hits = [];
  const server = createServer((asked, answer) => {
    hits.push(asked.url);
    const [type, body] = pages[asked.url] ?? ["text/html", "x"];
    answer.writeHead(200, { "content-type": type, "access-control-allow-origin": "*" }).end(body);
  });
  await new Promise((up) => server.listen(0, "127.0.0.1", up));
  return { hits, url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** A service that asks for no key. */
async function keyless(program, target) {
  const data = mkdtempSync(join(target, "data-"));
  const child = spawn(program, ["serve", "--data", data, "--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "ignore"] });
  const url = await new Promise((found, fail) => {
    child.on("exit", (code) => fail(new Error(`ended with ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => { const at = / serves (http:\/\/\S+)/.exec(line); if (at) found(at[1]); });
  });
  const end = async () => {
    child.removeAllListeners("exit");
    const gone = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    await gone;
    rmSync(data, { recursive: true, force: true });
  };
  return { url, end };
}

const wait = async (page, until) => { while (!until()) await page.evaluate(() => new Promise(requestAnimationFrame)); };

export async function attacks({ step, chromium, options, context, url, api, program, target }) {
  await step("AP-22: an artifact is saved and never opened as a page", async () => {
    const away = await canary();
    const script = (name) => `fetch('${away.url}/${name}')`;
    const html = `<!doctype html><script>${script("html")}</script>`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg"><script>${script("svg")}</script></svg>`;
    const code = `open('x.html', 'w').write(${JSON.stringify(html)})\nopen('x.svg', 'w').write(${JSON.stringify(svg)})`;
    const { json: left } = await api("POST", "/v1/runs", { language: "python", code, wait: true });
    assert.equal(left.outcome, "completed");
    const page = await context.newPage();
    for (const name of ["x.html", "x.svg"]) {
      const path = `/v1/runs/${left.id}/artifacts/${name}`;
      const [download] = await Promise.all([page.waitForEvent("download"), page.goto(url + path).catch(() => {})]);
      assert.equal(download.suggestedFilename(), name);
      const { headers } = await api("GET", path);
      assert.match(headers.get("content-security-policy") ?? "", /sandbox|default-src 'none'/);
      assert.equal(headers.get("x-content-type-options"), "nosniff");
    }
    assert.deepEqual(away.hits, []);
    const naive = await canary({ "/x.html": ["text/html", html], "/x.svg": ["image/svg+xml", svg] });
    for (const name of ["html", "svg"]) {
      await page.goto(`${naive.url}/x.${name}`);
      await wait(page, () => away.hits.includes(`/${name}`));
    }
    await page.close();
    away.close();
    naive.close();
  });

  const open = await keyless(program, target);
  try {
    await step("AP-07: a name that is bound anew to this machine reaches nothing", async () => {
      const port = new URL(open.url).port;
      const rebound = await chromium.launch({ ...options, args: [...options.args, "--host-resolver-rules=MAP evil.test 127.0.0.1"] });
      try {
        const page = await rebound.newPage();
        for (const path of ["/", "/healthz", "/v1/runs", "/api/trace/tree"]) {
          assert.equal((await page.goto(`http://evil.test:${port}${path}`)).status(), 403, path);
        }
        await page.goto(open.url);
        assert.equal(await page.evaluate(async () => (await fetch("/v1/runs")).status), 200, "the control: by its own name");
      } finally {
        await rebound.close();
      }
    });

    await step("AP-06 AP-25: a page of another origin drives neither the service, nor its MCP, nor AIGNE's routes", async () => {
      const away = await canary();
      const page = await context.newPage();
      await page.goto(away.url);
      const marker = `driven-${process.pid}`;
      const call = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "run_code", arguments: { code: `print('${marker}')` } } };
      const run = { language: "python", code: `print('${marker}')`, wait: true };
      const span = [{ id: "a", rootId: "b", name: marker, startTime: Date.now(), endTime: Date.now() + 1, status: {}, attributes: {} }];
      const bodies = { "/mcp": call, "/v1/runs": run, "/api/trace/tree": span };
      const told = await page.evaluate(async ({ url, bodies }) => {
        const tries = [];
        for (const [path, body] of Object.entries(bodies)) {
          const text = JSON.stringify(body);
          await fetch(url + path, { method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" }, body: text });
          const sent = fetch(url + path, { method: "POST", headers: { "content-type": "application/json", accept: "application/json, text/event-stream" }, body: text });
          tries.push(await sent.then(() => "read", () => "refused"));
        }
        return tries;
      }, { url: open.url, bodies });
      assert.deepEqual(told, ["refused", "refused", "refused"]);
      const ask = async (path, body) => fetch(open.url + path, { method: body ? "POST" : "GET", headers: { "content-type": "application/json", accept: "application/json, text/event-stream" }, body: body && JSON.stringify(body) });
      const found = async () => (await (await ask(`/v1/runs?text=${marker}`)).json()).items.length;
      const traces = async () => (await (await ask(`/api/trace/tree?searchText=${marker}`)).json()).total;
      assert.deepEqual([await found(), await traces()], [0, 0]);
      assert.equal((await ask("/v1/runs", run)).status, 200, "the control: a program of this machine may");
      assert.equal((await ask("/api/trace/tree", span)).status, 200);
      assert.ok((await found()) === 1 && (await traces()) >= 1);
      await page.close();
      away.close();
    });
  } finally {
    await open.end();
  }
}
