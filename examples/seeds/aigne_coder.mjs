// AIGNE's workflow of a coder and a sandbox: an AIAgent writes JavaScript, the skill `evaluateJs` runs it. The original's skill is `eval` in the
// agent's own process; here it asks the tool `run_code` of `fireclay mcp`, by AIGNE's own client of MCP. Argument: the program fireclay.

import { AIAgent, AIGNE, ChatModel, FunctionAgent, MCPAgent } from "@aigne/core";
import { z } from "zod";

/** A model that is not there: writes one program, then tells what came of it. */
class ScriptedModel extends ChatModel {
  process({ messages }) {
    const last = messages.at(-1);
    if (last.role === "tool") return { text: `Running it gave ${last.content.map((part) => part.text).join("")}` };
    const jsCode = "const product = (n) => (n < 2 ? 1 : n * product(n - 1)); product(10)";
    return { toolCalls: [{ id: "call_1", type: "function", function: { name: "evaluateJs", arguments: { jsCode } } }] };
  }
}

const fireclay = await MCPAgent.from({ command: process.argv[2], args: ["mcp"], env: process.env });
const runCode = fireclay.skills.find((skill) => skill.name === "run_code");
const aigne = new AIGNE({ model: new ScriptedModel() });

const sandbox = FunctionAgent.from({
  name: "evaluateJs",
  description: "Evaluates JavaScript and returns the value of its last expression",
  inputSchema: z.object({ jsCode: z.string() }),
  process: async ({ jsCode }) => {
    const { structuredContent: run } = await aigne.invoke(runCode, { code: jsCode, language: "javascript" });
    return { value: run.result?.["application/json"] ?? run.result?.["text/plain"] ?? run.stdout };
  },
});
const coder = AIAgent.from({ name: "coder", instructions: "Write JavaScript, and run it.", skills: [sandbox], inputKey: "message" });

const answer = await aigne.invoke(coder, { message: "10! = ?" });
console.log(answer.message);
await aigne.shutdown();
await fireclay.shutdown();
