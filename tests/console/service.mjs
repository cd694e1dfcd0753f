// A service with keys, and the model of tests/agent behind it.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** The first line of a program's output that says an address. */
function address(child, pattern) {
  return new Promise((done, fail) => {
    const heard = [];
    for (const pipe of [child.stdout, child.stderr]) {
      createInterface({ input: pipe }).on("line", (line) => {
        heard.push(line);
        const found = pattern.exec(line);
        if (found) done(found[1]);
      });
    }
    child.on("exit", (code) => fail(new Error(`ended with ${code}: ${heard.join("\n")}`)));
  });
}

export async function start(program, target) {
  const data = mkdtempSync(join(target, "data-"));
  const children = [];
  const run = (words, more = {}) => execFileSync(program, words, { encoding: "utf8", stdio: ["pipe", "pipe", "ignore"], ...more });
  const key = (role, tenant) => run(["key", "create", "--data", data, "--role", role, ...(tenant ? ["--tenant", tenant] : [])]).match(/fc_\w{10}_[\w-]{43}/)[0];
  const admin = key("admin"), tenant = key("tenant", "studio");
  const model = spawn("python3", ["../agent/model_server.py", "conversation.json"], { stdio: ["ignore", "pipe", "pipe"] });
  children.push(model);
  const there = await address(model, /^(http:\S+)$/);
  run(["secret", "set", "OPENAI_API_KEY", "--data", data], { input: "sk-fake-0123456789" });
  const service = spawn(program, ["serve", "--data", data, "--listen", "127.0.0.1:0", "--set", "model.name=openai:gpt-5-mini", "--set", `model.base_url=${there}/v1`], { stdio: ["ignore", "pipe", "pipe"] });
  children.push(service);
  const url = await address(service, / serves (http:\/\/\S+)/);
  const end = async () => {
    for (const child of children.reverse()) {
      const gone = new Promise((done) => child.once("exit", done));
      child.removeAllListeners("exit");
      const left = new Promise((done) => child.once("exit", done));
      child.kill("SIGTERM");
      await Promise.race([gone, left]);
    }
    rmSync(data, { recursive: true, force: true });
  };
  return { url, admin, tenant, end };
}
