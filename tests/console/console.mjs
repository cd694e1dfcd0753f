// A person at the console: node console.mjs PROGRAM DIRECTORY. Fails at the first thing that is not as it should be.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { attacks } from "./attacks.mjs";
import * as made from "./made.mjs";
import { start } from "./service.mjs";

const [program, target] = process.argv.slice(2);
const pictures = `${target}/pictures`;
mkdirSync(pictures, { recursive: true });
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const service = await start(program, target);
// Where the page is served from elsewhere while it is written (ui/dev.mjs).
const url = process.env.CONSOLE_DEV ? await dev(service.url) : service.url;
const options = { executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] };
const browser = await chromium.launch(options);
async function dev(service) {
  const { spawn } = await import("node:child_process");
  const child = spawn("node", ["../../ui/dev.mjs", service, "5199"], { stdio: ["ignore", "pipe", "inherit"] });
  // It ends with us, and does not keep us.
  process.on("exit", () => child.kill());
  child.unref();
  return new Promise((up) => child.stdout.once("data", (said) => { child.stdout.unref(); up(String(said).trim()); }));
}

const FIRST_PAINT_MAX = 300_000;

/** Someone with a browser of their own; remembers what the pages complained of. */
async function person({ scheme = "light", width = 1440, height = 900, ...more } = {}) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height }, acceptDownloads: true, reducedMotion: "reduce", ...more });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (said) => { if (["error", "warning"].includes(said.type())) complaints.push(said.text()); });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.setDefaultTimeout(30_000);
  return { context, page, complaints };
}

async function login(page, key = service.admin) {
  await page.goto(url);
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.locator("#main").waitFor();
}

const open = async (page, path) => { await page.evaluate((path) => { location.hash = path; }, path); };

/** Asks over HTTP, as the holder of a key. */
const api = async (method, path, body, headers = {}) => {
  const answer = await fetch(url + path, { method, headers: { authorization: `Bearer ${service.admin}`, ...(body && { "content-type": "application/json" }), ...headers }, body: body && JSON.stringify(body) });
  return { status: answer.status, headers: answer.headers, json: await answer.json().catch(() => null) };
};

/** Puts code into the playground and runs it. */
async function run(page, code) {
  await open(page, "/play");
  await page.locator("[data-editor=ready]").waitFor();
  const editor = page.getByRole("textbox", { name: "Code" });
  await editor.click();
  await page.keyboard.press("Control+a");
  await page.keyboard.insertText(code);
  await page.keyboard.press("Control+Enter");
  await page.locator(".result .status .badge:not(.live)").waitFor();
}

const blocked = (complaints) => complaints.filter((said) => /Content.Security.Policy|Trusted|violat/i.test(said));
/** A Python that has what the client in sdk/python needs, in an environment that is made once. */
function python() {
  const venv = `${target}/python`;
  if (!existsSync(`${venv}/done`)) {
    execFileSync("python3", ["-m", "venv", "--clear", venv]);
    execFileSync(`${venv}/bin/pip`, ["install", "--quiet", "--disable-pip-version-check", "httpx==0.28.1", "typing_extensions==4.15.0"]);
    writeFileSync(`${venv}/done`, "");
  }
  return `${venv}/bin/python`;
}

const has = async (path) => (await api("GET", path)).status !== 404;
const done = [];
/** The agent's page with a conversation on it, once there was one. */
let conversation = null;
const only = new RegExp(process.env.CONSOLE_ONLY ?? "");
async function step(name, act) {
  if (!name.startsWith("login") && !only.test(name)) return;
  const began = Date.now();
  try { await act(); } catch (error) {
    console.error(`FAILED: ${name}`);
    throw error;
  }
  done.push(name);
  console.log(`ok: ${name} (${Date.now() - began} ms)`);
}

try {
  const tracing = await has("/v1/traces?limit=1");
  if (!tracing) console.log("note: this service has no /v1/traces; journeys through them are not made");

  await step("the page: headers, and files that are kept", async () => {
    const page = await fetch(url);
    const policy = page.headers.get("content-security-policy");
    assert.ok(!/unsafe|\*|https?:/.test(policy), policy);
    for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"]) assert.ok(policy.includes(part), part);
    assert.equal(page.headers.get("x-content-type-options"), "nosniff");
    assert.equal(page.headers.get("cache-control"), "no-cache");
    assert.equal((await fetch(url, { headers: { "if-none-match": page.headers.get("etag") } })).status, 304);
    const text = await page.text();
    assert.ok(!/<script(?![^>]*src=)|<style|\son\w+=|style=/.test(text), "nothing inline");
    for (const [, name] of text.matchAll(/="(\/console\/assets\/[^"]+)"/g)) {
      const file = await fetch(url + name);
      assert.equal(file.status, 200, name);
      assert.match(file.headers.get("cache-control"), /immutable/);
    }
    assert.equal((await fetch(`${url}/console/assets/no.js`)).status, 404);
    assert.equal((await fetch(`${url}/console/session`)).status, 401);
  });

  const { context, page, complaints } = await person();
  await step("login: a wrong key is refused, a right one becomes a cookie that scripts cannot read", async () => {
    await page.goto(url);
    await page.screenshot({ path: `${pictures}/login.png` });
    await page.getByLabel("API key").fill(service.admin.replace(/.{4}$/, "AAAA"));
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("alert").filter({ hasText: "unknown, expired or revoked" }).waitFor();
    await login(page);
    const [cookie, ...others] = await context.cookies();
    assert.equal(others.length, 0);
    const { name, httpOnly, secure, sameSite, path, value, expires } = cookie;
    assert.deepEqual({ name, httpOnly, secure, sameSite, path }, { name: "__Host-fireclay", httpOnly: true, secure: true, sameSite: "Strict", path: "/" });
    assert.match(value, /^[0-9a-f]{64}$/);
    assert.ok(expires * 1000 - Date.now() <= 12 * 3_600_000 + 5000);
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, document.documentElement.outerHTML]));
    assert.ok(!kept.includes(service.admin) && !kept.includes(service.admin.slice(14)) && !kept.includes(value));
  });

  await step("a link logs in once", async () => {
    const { json, status } = await api("POST", "/console/links");
    assert.equal(status, 201);
    assert.match(json.path, /^\/#\/link\/[0-9a-f]{64}$/);
    const other = await person();
    await other.page.goto(url + json.path);
    await other.page.getByRole("navigation", { name: "Pages" }).waitFor();
    assert.ok(!other.page.url().includes("link"), "it is not in the address any more");
    const late = await person();
    await late.page.goto(url + json.path);
    await late.page.getByRole("alert").filter({ hasText: "the link is not good" }).waitFor();
    await other.context.close();
    await late.context.close();
  });

  await step("run code: output, value, error, table, image; by keyboard", async () => {
    await run(page, "import sys\nprint('\\x1b[32mgreen\\x1b[0m and plain')\nprint('to stderr', file=sys.stderr)\n{'cone': 6, 'firings': [1, 2]}");
    await page.locator(".out .f2", { hasText: "green" }).waitFor();
    await page.locator(".out .err", { hasText: "to stderr" }).waitFor();
    await page.locator(".json .k", { hasText: "cone" }).waitFor();
    await page.getByRole("tab", { name: /Details/ }).click();
    await page.getByText("seccomp", { exact: true }).waitFor();
    await run(page, "1/0");
    await page.locator(".note.bad", { hasText: "division by zero" }).waitFor();
    const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    await run(page, `import base64\nclass Plot:\n    def _repr_png_(self): return base64.b64decode('${png}')\nclass Frame:\n    def _repr_html_(self): return '<table><tr><th></th><th>cone</th></tr><tr><th>0</th><td>06</td></tr></table>'\ndisplay(Plot())\nFrame()`);
    await page.waitForFunction(() => [...document.images].some((image) => image.naturalWidth === 1 && image.src.startsWith("data:image/png")));
    await page.locator("table.grid td", { hasText: "06" }).waitFor();
    await page.screenshot({ path: `${pictures}/playground-result.png` });
  });

  await step("it says itself as curl, Python and CLI, and what it says runs", async () => {
    await run(page, "print('it\\'s', \"quoted\")");
    await page.getByRole("button", { name: "Copy as…" }).click();
    const text = await page.getByRole("dialog").locator("pre").innerText();
    const said = JSON.parse(execFileSync("sh", ["-c", text.replace("curl ", "curl -s ")], { encoding: "utf8", env: { ...process.env, FIRECLAY_API_KEY: service.admin } }));
    assert.equal(said.stdout, "it's quoted\n");
    await page.getByRole("button", { name: "CLI", exact: true }).click();
    await page.getByRole("dialog").locator("pre", { hasText: "fireclay run" }).waitFor();
    const words = await page.getByRole("dialog").locator("pre").innerText();
    assert.equal(execFileSync("sh", ["-c", words.replace("fireclay run", `'${program}' run --no-record --local`)], { encoding: "utf8" }), "it's quoted\n");
    await page.getByRole("button", { name: "Close" }).click();
    // With options; the words true and false in a text stay words.
    await page.evaluate(() => sessionStorage.setItem("fireclay-draft", JSON.stringify({ code: "import sys\nprint('it is true, not false or null', sys.stdin.read())", stdin: "true", check: "warn", timeout: "7", memory: "2048", review: true, more: { offline: true } })));
    await page.reload();
    await page.locator("[data-editor=ready]").waitFor();
    await page.getByRole("button", { name: "Copy as…" }).click();
    const shown = async (name) => { await page.getByRole("button", { name, exact: true }).click(); await page.getByRole("dialog").locator("pre", { hasText: name === "Python" ? "import Fireclay" : "fireclay run" }).waitFor(); return page.getByRole("dialog").locator("pre").innerText(); };
    assert.match(await shown("CLI"), /--timeout 7s --memory 2048MiB --check warn --review --offline --code/);
    const code = await shown("Python");
    assert.match(code, /review=True/);
    // There is a model here, which would be asked; what is asked of it is another test's.
    const client = execFileSync(python(), ["-c", code.replace(/,\s*review=True/, "")], { encoding: "utf8", env: { ...process.env, FIRECLAY_API_KEY: service.admin, PYTHONPATH: "../../sdk/python/src" } });
    assert.match(client, /^\S*completed it is true, not false or null true\n\n$/i);
    await page.getByRole("button", { name: "Close" }).click();
    // 2 GiB are more than 32 bits hold. It goes no further: the model would be asked.
    await page.route("**/v1/runs", (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ title: "Not now", status: 503, detail: "not now", hint: "" }) }));
    const [asked] = await Promise.all([page.waitForRequest((one) => one.method() === "POST" && one.url().endsWith("/v1/runs")), page.getByRole("button", { name: /^Run/ }).click()]);
    assert.deepEqual(asked.postDataJSON().limits, { timeout_ms: 7000, memory_bytes: 2 ** 31 });
    await page.unroute("**/v1/runs");
    const { limits } = (await api("GET", "/v1/limits")).json;
    await page.locator("details.options summary").click();
    assert.equal(await page.getByLabel("Memory limit, MiB").getAttribute("placeholder"), String(limits.memory_bytes / 2 ** 20));
    await page.evaluate(() => sessionStorage.clear());
    await page.reload();
  });

  await step("the playground takes a template of one's own, a Python, and no network for packages", async () => {
    const ask = (body) => api("POST", "/v1/runs", { language: "python", wait: true, ...body });
    const version = (await ask({ code: "import sys; print('%d.%d' % sys.version_info[:2])" })).json.stdout.trim();
    const built = await api("POST", "/v1/templates", { name: "kiln-room", base: "python", files: [{ path: "kiln.txt", text: "fired" }] });
    assert.ok(built.status < 300, JSON.stringify(built));
    await page.evaluate(() => sessionStorage.setItem("fireclay-draft", JSON.stringify({ code: "print(open('/opt/template/kiln.txt').read())" })));
    await page.reload();
    await page.locator("[data-editor=ready]").waitFor();
    const sent = async () => {
      const [asked] = await Promise.all([page.waitForRequest((one) => one.method() === "POST" && one.url().endsWith("/v1/runs")), page.getByRole("button", { name: /^Run/ }).click()]);
      await page.locator(".result .status .badge:not(.live)").waitFor();
      return { said: asked.postDataJSON(), shown: await page.locator(".result .body").innerText() };
    };
    // The control: with nothing chosen nothing is said, and the template's file is not there.
    const plain = await sent();
    assert.ok(!("template" in plain.said || "python" in plain.said || "offline" in plain.said), JSON.stringify(plain.said));
    assert.match(plain.shown, /FileNotFoundError/);
    await page.locator("details.options summary").click();
    await page.getByLabel(/^Template/).selectOption("kiln-room");
    await page.getByLabel(/^Python/).fill(version);
    await page.getByLabel("Only packages that are installed").check();
    const own = await sent();
    assert.deepEqual([own.said.template, own.said.python, own.said.offline], ["kiln-room", version, true]);
    assert.match(own.shown, /^fired/);
    await page.locator("details.options summary", { hasText: `kiln-room, Python ${version}, offline` }).waitFor();
    // What another language cannot be made from is not kept.
    await page.getByLabel("Language", { exact: true }).selectOption("javascript");
    assert.equal(await page.getByLabel(/^Template/).inputValue(), "");
    assert.equal(await page.getByLabel(/^Python/).count(), 0);
    assert.equal(await page.locator("option", { hasText: "kiln-room" }).count(), 0);
    assert.equal((await api("DELETE", "/v1/templates/kiln-room")).status < 300, true);
    await page.evaluate(() => sessionStorage.clear());
    await page.reload();
  });

  await step("every language that the machine has: an example that runs, highlighted", async () => {
    // One right after the other, as somebody goes through them by the arrow keys: the page went round in circles.
    await open(page, "/play");
    await page.locator("[data-editor=ready]").waitFor();
    const { items } = (await api("GET", "/v1/templates")).json;
    const ready = new Set(items.filter((one) => one.ready).flatMap((one) => one.languages));
    const choice = page.getByRole("combobox", { name: "Language" });
    await page.waitForFunction((some) => !some || [...document.querySelectorAll("option")].some((one) => one.disabled), ready.size < 13);
    const offered = await choice.locator("option").evaluateAll((all) => all.map((one) => [one.value, one.disabled]));
    assert.equal(offered.length, 13);
    assert.deepEqual(offered.filter(([, not]) => !not).map(([name]) => name).sort(), [...ready].sort());
    for (const name of [...ready].filter((one) => one !== "python")) {
      await choice.selectOption(name);
      await page.locator("[data-editor] .tok-number, [data-editor] .tok-string, [data-editor] .tok-comment").first().waitFor();
      assert.ok(await page.locator("[data-editor] [class*=tok-]").count() > 3, name);
      // Compilers take their time: those of them are tested elsewhere.
      if (!["ruby", "php"].includes(name)) continue;
      await page.getByRole("button", { name: /^Run/ }).click();
      await page.locator(".result .status .badge:not(.live)").waitFor();
      const said = await page.locator(".result .body").innerText();
      assert.match(said, /mean/, `${name}: ${said}`);
    }
    await choice.selectOption("python");
  });

  await step("AP-09 AP-12: hostile output stays inert; the same output in a naive page does not", async () => {
    const hits = [];
    const canary = createServer((asked, answer) => { hits.push(asked.url); answer.writeHead(200, { "access-control-allow-origin": "*" }).end("x"); });
    await new Promise((up) => canary.listen(0, "127.0.0.1", up));
    const evil = `http://127.0.0.1:${canary.address().port}`;
    const html = `<img src="${evil}/img" onerror="fetch('${evil}/onerror')"><svg onload="fetch('${evil}/svg')"></svg><script>fetch('${evil}/script');parent.pwned=1</script><link rel=stylesheet href="${evil}/css"><iframe src="${evil}/frame"></iframe><meta http-equiv=refresh content="0;url=${evil}/refresh"><style>body{background:url(${evil}/style)}</style><a href="${evil}/link" id=l>click</a><form action="${evil}/form"><button>go</button></form><table><tr><td>1</td></tr></table><table></table>`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><script>fetch('${evil}/svg-script')</script><image href="${evil}/svg-image" width="5" height="5"/><rect width="20" height="20" fill="red"/></svg>`;
    const code = `html = ${JSON.stringify(html)}\nprint(html)\nprint("\\x1b]8;;${evil}/osc\\x07click\\x1b]8;;\\x07")\nclass H:\n    def _repr_html_(self): return html\nclass S:\n    def _repr_svg_(self): return ${JSON.stringify(svg)}\nclass M:\n    def _repr_markdown_(self): return "![x](${evil}/md) [x](javascript:alert(1)) " + html\ndisplay(H(), S(), M())\nraise RuntimeError(html)`;
    await run(page, code);
    await page.getByRole("button", { name: "HTML" }).first().click().catch(() => {});
    const frame = page.locator(".shown iframe").first();
    await frame.waitFor();
    assert.equal(await frame.getAttribute("sandbox"), "");
    const inner = await (await frame.elementHandle()).contentFrame();
    await inner.locator("#l").waitFor();
    // A click on what it offers leads nowhere.
    await inner.locator("button").click();
    await inner.locator("#l").click();
    await page.waitForFunction(() => [...document.images].some((image) => image.src.startsWith("data:image/svg") && image.complete));
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    assert.equal(await page.locator(".out img, .out script, .out a, .prose a, .prose img, .note script").count(), 0);
    assert.ok(page.url().startsWith(url));
    await page.screenshot({ path: `${pictures}/hostile.png` });
    // Whatever was on its way when we looked has had the time of a request that is let through.
    await page.evaluate(() => fetch("/healthz"));
    assert.deepEqual(hits, []);
    const naive = await browser.newPage();
    await naive.goto(`${evil}/naive`);
    await naive.evaluate((html) => { document.body.innerHTML = html; }, html.replace(/<meta[^>]*>/, ""));
    for (const name of ["/img", "/css", "/frame", "/style"]) while (!hits.includes(name)) await naive.waitForRequest(/.*/, { timeout: 1000 }).catch(() => assert.ok(hits.includes(name), `the control shows ${name}`));
    await naive.close();
    canary.close();
    complaints.length = 0;
  });

  await step("AP-06 AP-08 AP-21 AP-23: a page of another origin cannot use the login", async () => {
    const other = createServer((_, answer) => answer.writeHead(200, { "content-type": "text/html" }).end("<body>other"));
    await new Promise((up) => other.listen(0, "127.0.0.1", up));
    const away = await context.newPage();
    // Of the same site, since sites know no ports: the browser does send the cookie.
    await away.goto(`http://127.0.0.1:${other.address().port}/`);
    const marker = `forged-${Date.now()}`;
    const tried = await away.evaluate(async ({ url, marker }) => {
      const body = JSON.stringify({ language: "python", code: `print('${marker}')`, wait: true });
      const tries = [
        fetch(`${url}/v1/runs`, { method: "POST", mode: "no-cors", credentials: "include", headers: { "content-type": "text/plain" }, body }).then((one) => one.type),
        fetch(`${url}/v1/runs`, { method: "POST", credentials: "include", headers: { "content-type": "application/json", "x-fireclay-console": "1" }, body }).then(() => "read", () => "refused"),
        fetch(`${url}/v1/keys`, { credentials: "include" }).then(() => "read", () => "refused"),
        new Promise((end) => { const socket = new WebSocket(`${url.replace("http", "ws")}/v1/sessions/ses_00000000000000000000000000/attach`); socket.onopen = () => end("open"); socket.onerror = () => end("refused"); }),
        new Promise((end) => { const frame = document.createElement("iframe"); frame.onload = () => { try { end(frame.contentDocument ? "framed" : "refused"); } catch { end("refused"); } }; frame.src = url; document.body.append(frame); }),
      ];
      return Promise.all(tries);
    }, { url, marker });
    assert.deepEqual(tried.slice(1), ["refused", "refused", "refused", "refused"]);
    await away.close();
    other.close();
    const cookie = `__Host-fireclay=${(await context.cookies())[0].value}`;
    const send = async (headers) => (await fetch(`${url}/v1/runs`, { method: "POST", headers: { cookie, "content-type": "application/json", ...headers }, body: JSON.stringify({ language: "python", code: `print('${marker}')`, wait: true }) })).status;
    assert.equal(await send({}), 403);
    assert.equal(await send({ "x-fireclay-console": "1" }), 403);
    assert.equal(await send({ "x-fireclay-console": "1", origin: "http://127.0.0.1:1" }), 403);
    assert.equal(await send({ origin: url }), 403);
    const found = async () => (await api("GET", `/v1/runs?text=${marker}`)).json.items.length;
    assert.equal(await found(), 0);
    assert.equal(await send({ "x-fireclay-console": "1", origin: url }), 200, "the control: the page itself may");
    assert.equal(await found(), 1);
  });

  await step("five megabytes of output are shown, and the page stays usable", async () => {
    await open(page, "/play");
    await api("GET", "/v1/limits");
    await page.evaluate(() => sessionStorage.setItem("fireclay-draft", JSON.stringify({ code: "print('begin')\nfor i in range(50_000): print(f'{i:08d} ' + 'x' * 90)\nprint('end')" })));
    const { json } = await api("POST", "/v1/runs", { language: "python", code: "print('begin')\nfor i in range(50_000): print(f'{i:08d} ' + 'x' * 90)\nprint('end')", limits: { output_bytes: 8 << 20 }, wait: true });
    assert.ok(json.stdout.length > 5_000_000, `${json.stdout.length}`);
    await page.route("**/v1/runs", async (route) => {
      const body = { ...route.request().postDataJSON(), limits: { output_bytes: 8 << 20 } };
      await route.continue({ postData: JSON.stringify(body) });
    });
    await run(page, "print('begin')\nfor i in range(50_000): print(f'{i:08d} ' + 'x' * 90)\nprint('end')");
    await page.unroute("**/v1/runs");
    await page.getByText(/of output; its beginning and its end/).waitFor();
    await page.getByRole("button", { name: "Show all" }).click();
    await page.waitForFunction(() => document.querySelector(".result .out").textContent.length > 4_900_000);
    // It still answers to the keyboard.
    await page.getByRole("tab", { name: /Details/ }).click();
    await page.getByText("seccomp", { exact: true }).waitFor();
    const [download] = await Promise.all([page.waitForEvent("download"), (async () => { await page.getByRole("tab", { name: "Output" }).click(); await page.getByRole("button", { name: "Save as a file" }).click(); })()]);
    assert.ok(readFileSync(await download.path()).length > 4_900_000);
  });

  await step("a session: notebook, files up and down, a terminal", async () => {
    await open(page, "/sessions");
    await page.getByRole("button", { name: "New session" }).first().click();
    await page.getByLabel("Name", { exact: true }).fill("glaze");
    await page.getByRole("dialog").getByRole("button", { name: "Open" }).click();
    await page.locator("[data-editor=ready]").waitFor();
    const cell = async (code) => { await page.getByRole("textbox", { name: "New cell" }).click(); await page.keyboard.insertText(code); await page.keyboard.press("Control+Enter"); };
    await cell("cone = 6");
    await page.locator(".cell .badge.good").first().waitFor();
    await cell("open('made.csv', 'w').write('a,b\\n1,2\\n'); cone * 7");
    await page.locator(".cell pre.out, .cell .json", { hasText: "42" }).waitFor();
    await page.screenshot({ path: `${pictures}/notebook.png` });
    await page.getByRole("tab", { name: "Files" }).click();
    await page.getByRole("button", { name: "made.csv", exact: true }).click();
    await page.locator("table.grid td", { hasText: "2" }).waitFor();
    const content = Buffer.from("<script>alert(1)</script>\u0000\u0001binary");
    await page.getByLabel("Upload files").setInputFiles({ name: "up & down.bin", mimeType: "text/html", buffer: content });
    await page.getByRole("button", { name: "Save up & down.bin" }).waitFor();
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save up & down.bin" }).click()]);
    assert.deepEqual(readFileSync(await download.path()), content);
    await page.screenshot({ path: `${pictures}/files.png` });
    // Chromium itself sets a style where text takes the place of highlighted text, in the editor; the policy refuses it, and says so.
    complaints.length = 0;
    await page.getByRole("tab", { name: "Terminal" }).click();
    await page.locator("[data-terminal=on]").waitFor();
    await page.keyboard.type("printf '\\033[38;2;10;200;30mtrue colour\\033[0m\\n'; echo $((6 * 7)) > answer; cat answer made.csv\n");
    await page.waitForFunction(() => /^42$/m.test([...document.querySelectorAll(".xterm-rows > div")].map((row) => row.textContent.trim()).join("\n")));
    await page.screenshot({ path: `${pictures}/terminal.png` });
    assert.deepEqual(blocked(complaints), []);
    // Where there are more runs than it begins with, it says so; where there are not, it does not.
    const note = page.getByRole("note").filter({ hasText: "The last 30 runs are shown" });
    await page.getByRole("tab", { name: "Notebook" }).click();
    await page.locator(".cell .badge.good").first().waitFor();
    assert.equal(await note.count(), 0);
    await page.route("**/v1/runs?session=*", async (route) => { const answer = await route.fetch(); await route.fulfill({ response: answer, json: { ...(await answer.json()), next: "older" } }); });
    await page.getByRole("tab", { name: "Files" }).click();
    await page.getByRole("tab", { name: "Notebook" }).click();
    await note.waitFor();
    await page.unroute("**/v1/runs?session=*");
    page.once("dialog", (asked) => asked.accept());
    await page.getByRole("button", { name: "End", exact: true }).click();
    await page.getByText(/^Ended/).waitFor();
  });

  await step("the agent: asks, waits for a word, runs what was approved, answers", async () => {
    await open(page, "/agent");
    await page.getByLabel("Question").fill("How many primes are below 100?");
    await page.getByRole("button", { name: "Ask", exact: true }).click();
    await page.getByRole("group", { name: /May attempt 1 run/ }).waitFor();
    await page.screenshot({ path: `${pictures}/agent-asks.png` });
    await page.getByRole("button", { name: "Approve", exact: true }).click();
    await page.locator(".prose strong", { hasText: "25" }).waitFor();
    await page.locator(".badge", { hasText: "answered" }).waitFor();
    await page.screenshot({ path: `${pictures}/agent-answers.png` });
    conversation = page.url().split("#")[1];
    if (!tracing) return;
    // Its run is no trace of its own: the step leads to where it is, and the notebook of its session has its code.
    const talk = page.url();
    await page.getByRole("link", { name: "Trace of attempt 1" }).click();
    await page.locator("a.what").first().click();
    await page.locator(".fall-row[aria-pressed=true]", { hasText: "python run" }).waitFor();
    await page.locator("pre.code", { hasText: "range(2, 100)" }).first().waitFor();
    await page.goto(talk);
    await page.getByRole("link", { name: "Its session" }).click();
    await page.locator(".cell .shell-in", { hasText: "range(2, 100)" }).first().waitFor();
    assert.equal(await page.getByText("was not kept").count(), 0);
  });

  await step("the agent: what is refused is not run, and the reason is told; a task is stopped", async () => {
    const begin = async (question) => {
      await open(page, "/agent");
      await page.getByLabel("Question").fill(question);
      await page.getByRole("button", { name: "Ask", exact: true }).click();
      await page.getByRole("group", { name: /May attempt 1 run/ }).waitFor();
    };
    const runs = async () => (await api("GET", "/v1/runs?limit=200")).json.items.length;
    const before = await runs();
    await begin("Look into the kiln.");
    await page.getByLabel("Why not").fill("not in this kiln");
    await page.getByRole("button", { name: "Refuse" }).click();
    await page.getByText("Then I will not.").waitFor();
    await page.getByText("You said: deny — not in this kiln").waitFor();
    await begin("Wait for me.");
    await page.getByRole("button", { name: "Stop", exact: true }).click();
    await page.locator(".badge", { hasText: "cancelled" }).first().waitFor();
    assert.equal(await runs(), before, "nothing ran");
  });

  await step("a key: made, shown once, good for a login, revoked", async () => {
    await open(page, "/keys");
    await page.getByRole("button", { name: "New key" }).first().click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("textbox", { name: "Name", exact: true }).fill("made in the console");
    await dialog.getByRole("textbox", { name: "Tenant", exact: true }).fill("studio");
    await dialog.getByLabel("Ends after, days").fill("2");
    await dialog.getByRole("button", { name: "Make" }).click();
    const key = (await dialog.locator("pre").innerText()).trim();
    assert.match(key, /^fc_\w{10}_[\w-]{43}$/);
    const works = async () => (await fetch(`${url}/v1/runs`, { headers: { authorization: `Bearer ${key}` } })).status;
    assert.equal(await works(), 200);
    await dialog.getByRole("button", { name: "I have kept it" }).click();
    await page.getByRole("row", { name: /made in the console/ }).waitFor();
    assert.ok(!(await page.content()).includes(key), "it is not shown again");
    page.once("dialog", (asked) => asked.accept());
    await page.getByRole("button", { name: "Revoke made in the console" }).click();
    await page.getByRole("row", { name: /made in the console/ }).getByText("revoked").waitFor();
    assert.equal(await works(), 401);
  });

  if (tracing) {
    await step("a run with options is run again with them; one that is cut is not, and it is said", async () => {
      const asked = { language: "python", code: "print(input(), 'again')", stdin: "once", limits: { timeout_ms: 9000, memory_bytes: 2 ** 28, processes: 20 }, check: "off", egress: { allow: ["example.com:443"] }, packages: [], files: [{ path: "a.txt", text: "a" }], env: { WORD: "x" }, wait: true };
      const { json } = await api("POST", "/v1/runs", asked);
      assert.equal(json.outcome, "completed", JSON.stringify(json));
      const again = async (id) => { await open(page, `/traces?of=${id}`); await page.locator("a.what").first().click(); await page.getByRole("button", { name: "Rerun with changes" }).click(); };
      await again(json.id);
      await page.getByRole("note").filter({ hasText: "1 input file, 1 environment variable" }).waitFor();
      await page.screenshot({ path: `${pictures}/rerun.png` });
      await page.getByRole("button", { name: "Go on" }).click();
      const [request] = await Promise.all([page.waitForRequest((one) => one.method() === "POST" && one.url().endsWith("/v1/runs")), page.getByRole("button", { name: /^Run/ }).click()]);
      const { files, env, wait, packages, ...same } = asked;
      assert.deepEqual(request.postDataJSON(), same);
      await page.locator(".out", { hasText: "once again" }).waitFor();
      const long = await api("POST", "/v1/runs", { language: "python", code: `print('long')\n# ${"x".repeat(100_000)}`, wait: true });
      await again(long.json.id);
      await page.getByRole("alert").filter({ hasText: "cannot be run again" }).waitFor();
      assert.match(page.url(), /#\/traces\//);
      await page.evaluate(() => sessionStorage.clear());
    });

    await step("a search goes on where the service stopped looking, and says so", async () => {
      const one = await person();
      await login(one.page);
      await made.serve(one.page, { depth: 7 });
      let looks = 0;
      one.page.on("request", (asked) => { if (asked.url().includes("q=deep")) looks += 1; });
      await open(one.page, "/traces?q=deep");
      await one.page.getByRole("button", { name: "Search further" }).waitFor();
      assert.equal(looks, 5, "it looks a few times, and asks then");
      assert.equal(await one.page.getByText("Nothing matches").count(), 0);
      await one.page.screenshot({ path: `${pictures}/search-further.png` });
      await one.page.getByRole("button", { name: "Search further" }).click();
      await one.page.locator("a.what").first().waitFor();
      assert.equal(looks, 8);
      // The control: where there is nothing more, nothing matches.
      await open(one.page, "/traces?q=not-in-any-of-them");
      await one.page.getByText("Nothing matches").waitFor();
      await one.context.close();
    });

    await step("a trace: found, seen in time, run again with a change, removed from the list by a filter", async () => {
      await run(page, "print('traced', 6 * 7)");
      await open(page, "/traces");
      await page.getByLabel("Search traces").fill("traced");
      await page.waitForFunction(() => location.hash.includes("q=traced"));
      await page.locator("a.what").first().click();
      await page.locator(".fall-row", { hasText: "execution" }).waitFor();
      await page.getByRole("tab", { name: /Isolation/ }).click();
      await page.getByText("landlock", { exact: true }).waitFor();
      await page.getByRole("textbox", { name: "Remark" }).fill("looked at");
      await page.getByRole("button", { name: "Keep" }).click();
      await page.screenshot({ path: `${pictures}/trace-real.png` });
      await page.getByRole("button", { name: "Rerun with changes" }).click();
      await page.locator("[data-editor=ready]").waitFor();
      assert.match(await page.evaluate(() => sessionStorage.getItem("fireclay-draft")), /traced/);
      await page.getByRole("button", { name: /^Run/ }).click();
      await page.locator(".out", { hasText: "traced 42" }).waitFor();
      await open(page, "/");
      await page.locator(".chart canvas").first().waitFor();
      await page.getByText("Memory to be had").waitFor();
      assert.match(await page.locator(".figure", { hasText: "Memory to be had" }).innerText(), /\d+(\.\d)? [MG]iB/);
      await page.screenshot({ path: `${pictures}/overview-real.png` });
      await open(page, "/traces");
      for (const at of [0, 1]) await page.getByRole("checkbox").nth(at).check();
      await page.getByRole("button", { name: "Compare two" }).click();
      await page.getByRole("rowheader", { name: "execution" }).waitFor();
      await page.screenshot({ path: `${pictures}/compare-real.png` });
    });

    await step("traces come by themselves", async () => {
      await open(page, "/traces");
      await page.locator("a.what").first().waitFor();
      await api("POST", "/v1/runs", { language: "python", code: "print('by itself')", wait: true });
      await page.locator("a.what", { hasText: "by itself" }).waitFor();
    });
  }

  await step("ten thousand traces: pages, filters in the address", async () => {
    const many = await person();
    await login(many.page);
    const told = [];
    await made.serve(many.page, { told });
    await open(many.page, "/traces");
    await many.page.locator(".trace-row a.what").first().waitFor();
    for (let pages = 2; pages <= 100; pages += 1) {
      await many.page.getByRole("button", { name: "Older traces" }).click();
      await many.page.getByText(`${(pages * 100).toLocaleString("en")} shown`).waitFor();
    }
    // All can be reached; what is far away is not laid out.
    await many.page.getByRole("button", { name: "Older traces" }).waitFor({ state: "detached" });
    await many.page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
    await many.page.locator(`a.what[href$="${made.row(9_999).id}"]`).waitFor();
    assert.ok(await many.page.locator("a.what").count() < 1000);
    await many.page.evaluate(() => scrollTo(0, 0));
    await many.page.locator(`a.what[href$="${made.row(0).id}"]`).waitFor();
    assert.equal(await many.page.getByRole("button", { name: "Older traces" }).count(), 0);
    // One that comes by itself takes none of them away.
    told.push({ ...made.row(0), id: "f".repeat(32) });
    await many.page.getByText("10,001 shown").waitFor();
    await many.page.getByLabel("Any outcome").selectOption("timed_out");
    await many.page.waitForFunction(() => location.hash.includes("outcome=timed_out") && [...document.querySelectorAll(".trace-rows .badge")].every((one) => one.textContent === "timed out"));
    await many.page.reload();
    assert.equal(await many.page.getByLabel("Any outcome").inputValue(), "timed_out");
    await many.context.close();
  });

  await step("nodes: what each is, when it was heard of, and how to mend what is not as it should be", async () => {
    const one = await person();
    await login(one.page);
    await one.page.route("**/v1/nodes", (route) => route.fulfill({ status: 200, contentType: "application/json", body: JSON.stringify({ items: made.NODES }) }));
    await open(one.page, "/nodes");
    const row = (name) => one.page.getByRole("row").filter({ has: one.page.getByRole("rowheader", { name: new RegExp(`^${name}`) }) });
    await row("g1").waitFor();
    assert.equal((await row("g1").getByRole("cell").allTextContents()).slice(0, 5).join("|"), "ready|gateway, worker|3 of 8|0|2 of 32");
    assert.equal((await row("w1").getByRole("cell").allTextContents()).slice(0, 5).join("|"), "cordoned|worker|0 of 16|5|0 of 64");
    const mend = one.page.getByRole("list", { name: "To be mended" }).getByRole("listitem");
    assert.match((await mend.allTextContents()).join("|"), /^w1 takes no new runs: fireclay nodes uncordon w1.*\|w2 is late: /);
    assert.equal(await mend.count(), 2, "nothing is to be mended with the first");
    assert.match(await row("g1").getByRole("cell").nth(5).textContent(), /^\d\d:\d\d:\d\d$/);
    await one.context.close();
  });

  // What pages show that somebody used.
  const { json: kiln } = await api("POST", "/v1/sessions", { name: "kiln", language: "python" });
  for (const code of ["cone = 6", "open('a.csv', 'w').write('a,b\\n1,2\\n'); {'cone': cone}"]) await api("POST", `/v1/sessions/${kiln.id}/runs`, { code, wait: true });
  const dialog = (path, button) => async (page) => { await open(page, path); await settle(page); await page.getByRole("button", { name: button }).first().click(); await page.getByRole("dialog").waitFor(); return async () => { await page.keyboard.press("Escape"); await page.getByRole("dialog").waitFor({ state: "detached" }); }; };
  const USED = {
    notebook: async (page) => { await open(page, `/sessions/${kiln.id}`); await page.locator(".cell .badge.good").nth(1).waitFor(); await page.locator("[data-editor=ready]").waitFor(); if (tracing) await page.locator(".shell-in", { hasText: "cone = 6" }).waitFor(); },
    files: async (page) => { await open(page, `/sessions/${kiln.id}?tab=files&file=a.csv`); await page.locator("table.grid td").first().waitFor(); },
    terminal: async (page) => { await open(page, `/sessions/${kiln.id}?tab=terminal`); await page.locator("[data-terminal=on]").waitFor(); },
    ...(conversation && { conversation: async (page) => { await open(page, conversation); await page.locator(".prose strong", { hasText: "25" }).waitFor(); await page.locator(".badge", { hasText: "answered" }).first().waitFor(); } }),
    result: async (page) => { await run(page, "import sys\nprint('fired', 6 * 7)\nprint('hot', file=sys.stderr)\n{'cone': 6}"); await page.locator(".json .k").first().waitFor(); },
    "dialog-session": dialog("/sessions", "New session"), "dialog-key": dialog("/keys", "New key"), "dialog-copy": dialog("/play", "Copy as…"),
  };
  const PAGES = { overview: "/", playground: "/play", traces: "/traces", trace: `/traces/${made.row(4).id}`, compare: `/compare?a=${made.row(4).id}&b=${made.row(1).id}`, sessions: "/sessions", agent: "/agent", keys: "/keys", settings: "/settings", doctor: "/doctor", templates: "/templates", nodes: "/nodes", missing: "/no-such-page" };
  const settle = async (page) => { await page.waitForFunction(() => document.querySelector("main h1, main h2") && !document.querySelector(".skeleton")); };
  const [whole, used, none] = [{ pages: { ...PAGES, ...USED } }, { pages: USED, name: ", those that somebody used" }, { pages: PAGES, name: ", with nothing there", empty: true }];
  for (const [scheme, width, { pages, name: which = "", empty = false }] of [["light", 1440, whole], ["dark", 1440, whole], ["light", 375, whole], ["dark", 375, used], ["dark", 375, none]]) {
    await step(`every page, ${scheme}, ${width} px${which}: readable to all, nothing too wide, nothing forbidden`, async () => {
      const one = await person({ scheme, width, height: width < 500 ? 812 : 900 });
      await login(one.page, empty ? service.tenant : service.admin);
      await made.serve(one.page, { empty, count: 300 });
      if (!empty) await one.page.route("**/v1/nodes", (route) => route.fulfill({ status: 200, contentType: "application/json", body: JSON.stringify({ items: made.NODES }) }));
      await one.page.reload();
      one.complaints.length = 0;
      const all = [];
      for (const [name, path] of [...Object.entries(pages), ["login", null]]) {
        let leave = null;
        if (typeof path === "function") leave = await path(one.page);
        else if (path) await open(one.page, path);
        else {
          await one.context.clearCookies();
          await one.page.goto(url);
          await one.page.reload();
          await one.page.getByLabel("API key").waitFor();
          // That it is asked who it is and does not know is no complaint.
          one.complaints.splice(0, one.complaints.length, ...blocked(one.complaints));
        }
        await (path ? settle(one.page) : one.page.getByRole("heading", { name: "Log in" }).waitFor());
        const wide = await one.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (wide !== 0) all.push(`${name} is ${wide} px too wide`);
        await one.page.evaluate(axe);
        const found = await one.page.evaluate(async () => (await window.axe.run(document, { resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] })).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).slice(0, 3).join(" | ")}`));
        all.push(...found.map((one) => `${name}: ${one}`));
        await one.page.screenshot({ path: `${pictures}/${name}-${scheme}-${width}${empty ? "-empty" : ""}.png`, fullPage: true });
        // Chromium itself sets a style where text takes the place of highlighted text, in the editor; the policy refuses it, and says so.
        if (name === "result") one.complaints.length = 0;
        if (leave) await leave();
      }
      assert.deepEqual([...all, ...blocked(one.complaints)], []);
      await one.context.close();
    });
  }

  await step("axe and the policy can find something: a control", async () => {
    const one = await person({ bypassCSP: false });
    await login(one.page);
    await one.page.evaluate(() => { const style = document.createElement("style"); style.textContent = "p{}"; document.head.append(style); document.querySelector("main").append(document.createElement("button")); });
    assert.ok(blocked(one.complaints).length > 0, "a forbidden style is complained of");
    assert.match(await one.page.evaluate(() => { try { document.body.innerHTML = "<p>"; return "let in"; } catch (error) { return String(error); } }), /TrustedHTML/);
    await one.page.evaluate(axe);
    assert.deepEqual(await one.page.evaluate(async () => (await window.axe.run(document, { runOnly: ["button-name"] })).violations.map(({ id }) => id)), ["button-name"]);
    await one.context.close();
  });

  await step("an overview of more outcomes than colours counts all of them", async () => {
    const one = await person();
    await login(one.page);
    const told = made.summary();
    const more = { signalled: 7, denied: 5, cancelled: 3, output_exceeded: 2 };
    Object.assign(told.by_outcome, more);
    Object.assign(told.buckets.at(-1).by_outcome, more);
    await one.page.route(/\/v1\/traces\/summary/, (route) => route.fulfill({ status: 200, contentType: "application/json", body: JSON.stringify(told) }));
    await one.page.reload();
    const legend = one.page.locator(".card", { hasText: "Per minute, by outcome" }).locator(".legend a");
    await legend.filter({ hasText: "others" }).waitFor();
    const said = await legend.allInnerTexts();
    const counts = said.map((text) => Number(/([\d,]+)$/.exec(text.trim())[1].replaceAll(",", "")));
    assert.equal(said.length, 6, said.join("; "));
    assert.match(said[5], /^others/);
    assert.equal(counts.reduce((all, part) => all + part, 0), Object.values(told.by_outcome).reduce((all, part) => all + part, 0), said.join("; "));
    assert.match(await legend.last().getAttribute("title"), /cancelled/i);
    await one.context.close();
  });

  await step("first paint: bytes over the wire", async () => {
    for (const path of ["", "#/play", "#/traces"]) {
      const one = await person();
      await login(one.page);
      const fresh = await one.context.newPage();
      const tap = await one.context.newCDPSession(fresh);
      await tap.send("Network.enable");
      await tap.send("Network.setCacheDisabled", { cacheDisabled: true });
      const sizes = new Map();
      tap.on("Network.responseReceived", ({ requestId, response }) => sizes.set(requestId, { url: response.url, bytes: 0 }));
      tap.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => { if (sizes.has(requestId)) sizes.get(requestId).bytes = encodedDataLength; });
      await fresh.goto(`${url}/${path}`);
      await settle(fresh);
      if (path === "#/play") await fresh.locator("[data-editor=ready]").waitFor();
      const all = [...sizes.values()];
      const sum = all.reduce((sum, one) => sum + one.bytes, 0);
      console.log(`    ${path || "#/"}: ${sum} bytes in ${all.length} answers`);
      assert.ok(sum > 20_000 && sum < FIRST_PAINT_MAX, `${sum}`);
      assert.ok(all.every((one) => one.url.startsWith(url) || one.url.startsWith("data:")), "nothing from elsewhere");
      await one.context.close();
    }
  });

  await step("by keyboard alone: to the page, to another, to the menu of a small screen", async () => {
    const one = await person({ width: 375, height: 812 });
    await login(one.page);
    await one.page.reload();
    await one.page.getByRole("button", { name: "Menu" }).waitFor();
    await settle(one.page);
    await one.page.keyboard.press("Tab");
    assert.equal(await one.page.evaluate(() => document.activeElement.textContent), "Skip to the page");
    await one.page.keyboard.press("Tab");
    await one.page.keyboard.press("Tab");
    await one.page.keyboard.press("Enter");
    await one.page.getByRole("link", { name: "Playground" }).focus();
    await one.page.keyboard.press("Enter");
    await one.page.getByRole("heading", { name: "Playground" }).waitFor();
    await one.context.close();
  });

  await step("templates: what is there, what it costs, how to mend what is not ready", async () => {
    const one = await person();
    await login(one.page);
    await api("POST", "/v1/runs", { language: "python", code: "1", wait: true });
    await open(one.page, "/templates");
    const { items } = (await api("GET", "/v1/templates")).json;
    const row = (name) => one.page.getByRole("row").filter({ has: one.page.getByRole("cell", { name: new RegExp(`^${name}\\b`) }) }).first();
    await row("python").waitFor();
    assert.equal(await one.page.locator("tbody tr").count(), items.length);
    const python = items.find((item) => item.name === "python");
    assert.ok(python.waiting + python.leased > 0 && python.memory_bytes >= 0, JSON.stringify(python));
    for (const item of items.filter((item) => !item.ready)) assert.match(await row(item.name).textContent(), /not ready/);
    await one.page.screenshot({ path: `${pictures}/templates-real.png` });
    await one.context.close();
  });

  await step("an error of the service is said, and can be tried again", async () => {
    const one = await person();
    await login(one.page);
    await one.page.route("**/v1/sessions?*", (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ title: "The service is not available", status: 503, detail: "records cannot be written", hint: "free some space" }) }));
    await open(one.page, "/sessions");
    await one.page.getByRole("alert").filter({ hasText: "records cannot be written" }).waitFor({ state: "visible" });
    await one.page.screenshot({ path: `${pictures}/error.png` });
    await one.page.unroute("**/v1/sessions?*");
    await one.page.getByRole("button", { name: "Try again" }).click();
    await one.page.locator("section[aria-label=Sessions]").waitFor();
    await one.context.close();
  });

  await attacks({ step, chromium, options, context, url, api, program, target });

  await step("AP-05 AP-20: a tenant sees no other's; a revoked key ends its logins; logging out ends one", async () => {
    const one = await person();
    await login(one.page, service.tenant);
    const asked = await one.page.evaluate(async () => { const keys = await (await fetch("/v1/keys")).json(); return [keys.items.map((key) => key.tenant), (await fetch("/v1/settings")).status]; });
    assert.ok(asked[0].every((tenant) => tenant === "studio"), JSON.stringify(asked));
    const mine = await api("GET", "/v1/keys");
    const key = mine.json.items.find((one) => one.tenant === "studio" && !one.revoked_at);
    assert.equal((await api("DELETE", `/v1/keys/${key.id}`)).status, 204);
    assert.equal(await one.page.evaluate(async () => (await fetch("/v1/runs")).status), 401);
    await open(one.page, "/sessions");
    await one.page.getByRole("heading", { name: "Log in" }).waitFor();
    const cookie = `__Host-fireclay=${(await context.cookies())[0].value}`;
    const status = async () => (await fetch(`${url}/v1/runs`, { headers: { cookie } })).status;
    assert.equal(await status(), 200);
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByRole("heading", { name: "Log in" }).waitFor();
    assert.equal(await status(), 401);
    await one.context.close();
  });
  const ids = new Set(done.join(" ").match(/AP-\d+/g));
  console.log(`attacks of the catalogue: ${[...ids].sort().join(" ")}`);
  console.log(`console: ${done.length} steps; pictures in ${pictures}`);
} finally {
  await browser.close();
  await service.end();
}
