// AIGNE's coder again, watched: its observability package, which writes to a file of its own or to `aigne observe`, tells fireclay instead, and its API
// is read back from there. Arguments: the address of the service, and its key.

import { AIAgent, AIGNE, ChatModel, FunctionAgent } from "@aigne/core";
import { AIGNEObserver } from "@aigne/observability-api";
import { z } from "zod";

const [url, key] = process.argv.slice(2);

/** Asks the service as AIGNE's server is asked. */
async function ask(method, path, body) {
  const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
  const answer = await fetch(url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

// The one change.
AIGNEObserver.setExportFn((spans) => ask("POST", "/api/trace/tree", spans));
AIGNEObserver.setUpdateFn((id, more) => ask("PATCH", `/api/trace/tree/${id}`, more));

/** A model that is not there: calls the skill, then tells what came of it. */
class ScriptedModel extends ChatModel {
  process({ messages }) {
    const usage = { inputTokens: 100, outputTokens: 10 };
    const model = "gpt-4o-mini";
    const last = messages.at(-1);
    if (last.role === "tool") return { text: "It is 3628800", usage, model };
    const call = { name: "evaluateJs", arguments: { jsCode: "product(10)" } };
    return { toolCalls: [{ id: "call_1", type: "function", function: call }], usage, model };
  }
}

const sandbox = FunctionAgent.from({
  name: "evaluateJs",
  inputSchema: z.object({ jsCode: z.string() }),
  process: () => ({ value: 3628800 }),
});
const observer = new AIGNEObserver();
const aigne = new AIGNE({ model: new ScriptedModel(), observer });
const coder = AIAgent.from({ name: "coder", instructions: "Write JavaScript, and run it.", skills: [sandbox], inputKey: "message" });
await aigne.invoke(coder, { message: "10! = ?" });
await observer.close();

/** The names of a tree of spans, children in brackets. */
const names = (span) => span.name + (span.children.length ? `(${span.children.map(names).join(" ")})` : "");

const { data: rows } = await ask("GET", "/api/trace/tree?searchText=coder");
const root = rows.find((row) => row.name.includes("coder"));
const { data: tree } = await ask("GET", `/api/trace/tree/${root.id}`);
console.log(`AIGNE's API: ${names(tree)}`);
console.log(`tokens ${root.token}, cost ${root.cost}, status ${root.status.code}, ended ${root.endTime > 0}`);
const trace = await ask("GET", `/v1/traces/${root.rootId}`);
console.log(`fireclay's: ${names(trace.tree[0])}, ${trace.outcome}: ${trace.input_preview} ${trace.output_preview}`);
process.exit(0);
