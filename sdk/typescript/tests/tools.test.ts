/** Tools in the words of each provider, and inside the real Vercel AI SDK and the real AIGNE, with models that are not there. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AIAgent, AIGNE, ChatModel, type ChatModelInput, type ChatModelOutput, FunctionAgent } from "@aigne/core";
import { generateText, jsonSchema, stepCountIs } from "ai";
import { MockLanguageModelV3 } from "ai/test";
import { z } from "zod";
import { Fireclay } from "../src/index.js";

const fc = new Fireclay({ url: process.env["FIRECLAY_TEST_URL"] ?? assert.fail("FIRECLAY_TEST_URL names no service") });
const input = { code: "print(6 * 7)" };

test("each provider's call is answered in its own words", async () => {
  const text = JSON.stringify(input);
  const calls: [object, object][] = [
    [
      { id: "c", type: "function", function: { name: "run_code", arguments: text } },
      { role: "tool", tool_call_id: "c", content: "42" },
    ],
    [
      { type: "function_call", call_id: "c", id: "f", name: "run_code", arguments: text },
      { type: "function_call_output", call_id: "c", output: "42" },
    ],
    [
      { type: "tool_use", id: "c", name: "run_code", input },
      { type: "tool_result", tool_use_id: "c", content: "42", is_error: false },
    ],
    [{ functionCall: { name: "run_code", args: input } }, { functionResponse: { name: "run_code", response: { output: "42" } } }],
    [
      { type: "tool-call", toolCallId: "c", toolName: "run_code", input },
      { type: "tool-result", toolCallId: "c", toolName: "run_code", output: { type: "text", value: "42" } },
    ],
  ];
  for (const [call, answer] of calls) assert.deepEqual(await fc.tools.handle(call), answer);
  await assert.rejects(fc.tools.handle({ some: "thing" }), TypeError);
});

test("what a model says wrong is told to it", async () => {
  const said = async (call: object) => (await fc.tools.handle({ type: "tool_use", id: "c", name: "run_code", ...call })).content;
  assert.match(await said({ name: "rm_rf" }), /no tool "rm_rf"/);
  assert.match(await said({ input: {} }), /`code` is missing/);
  assert.match(await said({ input: { ...input, language: "cobol" } }), /cobol/);
  assert.equal((await fc.tools.handle({ id: "c", function: { name: "run_code", arguments: "{" } })).tool_call_id, "c");
  assert.match(await said({ input: { code: "1/0" } }), /ZeroDivisionError[\s\S]*exit code 1/);
  const answer = await fc.tools.call({ code: "print('x' * 100_000)" });
  assert.ok(answer.text.length < 17_000 && answer.text.includes("characters left out") && !answer.isError);
  assert.equal((await fc.tools.call({ code: "echo $A", language: "bash" }, { env: { A: "b" } })).text, "b");
});

test("definitions name one tool, and say what is kept", async () => {
  await using s = await fc.session();
  for (const [tools, kept] of [[fc.tools, /Nothing is kept/], [s.tools, /there for the next call/]] as const) {
    for (const definition of [tools.openai(), tools.openaiResponses(), tools.anthropic(), tools.gemini()]) {
      const text = JSON.stringify(definition);
      assert.ok(text.includes('"run_code"') && text.includes('"required":["code"]') && kept.test(text), text);
    }
  }
  await s.tools.call({ code: "x = 41" });
  assert.equal((await s.tools.call({ code: "print(x + 1)" })).text, "42");
});

test("the Vercel AI SDK calls it", async () => {
  const usage = {
    inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
    outputTokens: { total: 1, text: 1, reasoning: 0 },
  };
  const told: string[] = [];
  const model = new MockLanguageModelV3({
    doGenerate: async ({ prompt, tools }) => {
      assert.deepEqual(tools?.map(({ name }) => name), ["run_code"]);
      const last = prompt.at(-1);
      if (last?.role === "tool") {
        const text = JSON.stringify(last.content);
        told.push(text);
        return { content: [{ type: "text", text: "It is 42." }], finishReason: { unified: "stop", raw: "stop" }, usage, warnings: [] };
      }
      const call = { type: "tool-call" as const, toolCallId: "c", toolName: "run_code", input: JSON.stringify(input) };
      return { content: [call], finishReason: { unified: "tool-calls", raw: "tool_calls" }, usage, warnings: [] };
    },
  });
  const tools = fc.tools.aiSdk(jsonSchema, { limits: { timeout_ms: 5000 } });
  const { text, steps } = await generateText({ model, tools, prompt: "What is 6 * 7?", stopWhen: stepCountIs(3) });
  assert.equal(text, "It is 42.");
  assert.equal(steps.length, 2);
  assert.match(told.join(), /"value":"42"/);
});

test("an AIGNE FunctionAgent runs what its coder writes", async () => {
  /** Asks for one program, then says what came of it. */
  class Coder extends ChatModel {
    override process({ messages }: ChatModelInput): ChatModelOutput {
      const last = messages.at(-1);
      if (last?.role === "tool") return { text: `10! = ${JSON.stringify(last.content)}` };
      const code = "let n = 1; for (let i = 2; i <= 10; i++) n *= i; console.log(n)";
      return { toolCalls: [{ id: "c", type: "function", function: { name: "evaluateJs", arguments: { code } } }] };
    }
  }
  const sandbox = FunctionAgent.from({
    name: "evaluateJs",
    description: "Runs JavaScript and tells what it prints",
    inputSchema: z.object({ code: z.string() }),
    process: async ({ code }: { code: string }) => {
      const run = await fc.run(code, { language: "javascript" });
      return { result: run.check().stdout.trim() };
    },
  });
  const coder = AIAgent.from({ name: "coder", instructions: "Write JavaScript.", skills: [sandbox], inputKey: "message" });
  const aigne = new AIGNE({ model: new Coder() });
  const answer = await aigne.invoke(coder, { message: "10! = ?" });
  assert.match(String(answer["message"]), /10! = .*3628800/);
});
