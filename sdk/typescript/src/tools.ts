/** Tools for models: definitions, and calls and answers in the words of OpenAI, Anthropic, Gemini and the Vercel AI SDK. */

import { Rejected } from "./errors.js";
import type { Language, RunOptions } from "./request.js";
import type { Run } from "./result.js";

/** The name of the one tool. */
export const RUN_CODE = "run_code";

const FRESH =
  "Runs a program in a fresh sandbox and returns what it printed, the value of its last expression, and its error if it failed. " +
  "Nothing is kept between calls, and there is no network. Files that it writes to the working directory are listed.";
const STAYS =
  "Runs code in a sandbox that stays, and returns what it printed, the value of its last expression, and its error if it failed. " +
  "Variables, imports and files are there for the next call. There is no network. Files that it writes are listed.";

/** What the tool takes, as a JSON schema in the part that every model's dialect has. */
export const PARAMETERS = {
  type: "object" as const,
  properties: {
    code: { type: "string" as const, description: "The program's whole text." },
    language: {
      type: "string" as const,
      enum: ["python", "bash", "javascript", "typescript"],
      description: "Its language; python if left out.",
    },
    stdin: { type: "string" as const, description: "What it reads on standard input." },
  },
  required: ["code"],
};

// What a model is told of one stream; it has a context to fit in.
const TOLD_CHARS_MAX = 16_000;

/** What a model asks for. */
export interface RunCodeInput {
  code: string;
  language?: Language;
  stdin?: string;
}

/** What is told to the model. */
export interface ToolAnswer {
  /** In words. */
  text: string;
  /** Whether the code failed, or was not run at all. */
  isError: boolean;
  /** The run, if there was one. */
  run?: Run;
}

/** A call, whoever made it. */
interface Call {
  provider: "openai" | "openai_responses" | "anthropic" | "gemini" | "ai_sdk";
  name: string;
  id: string;
  input: Record<string, unknown>;
  /** What is wrong with it; the model is told, and may try again. */
  problem?: string;
}

type RunsCode = (code: string, options: RunOptions) => Promise<Run>;

/** `fc.tools`, and `session.tools`: one tool, `run_code`, in the words of each provider. */
export class Tools {
  private constructor(
    private readonly runs: RunsCode,
    private readonly description: string,
  ) {}

  /** A tool whose every call has a sandbox of its own. */
  static fresh(runs: RunsCode): Tools {
    return new Tools(runs, FRESH);
  }

  /** A tool whose calls share a session. */
  static ofSession(runs: RunsCode): Tools {
    return new Tools(runs, STAYS);
  }

  /** `tools` of OpenAI's chat completions, and of everything that speaks like them. */
  openai() {
    const { description } = this;
    return [{ type: "function" as const, function: { name: RUN_CODE, description, parameters: PARAMETERS } }];
  }

  /** `tools` of OpenAI's responses. */
  openaiResponses() {
    // Strict, its default there, wants every parameter to be required.
    const { description } = this;
    return [{ type: "function" as const, name: RUN_CODE, description, parameters: PARAMETERS, strict: false }];
  }

  /** `tools` of Anthropic's messages. */
  anthropic() {
    return [{ name: RUN_CODE, description: this.description, input_schema: PARAMETERS }];
  }

  /** `tools` of Gemini's generateContent. */
  gemini() {
    return [{ functionDeclarations: [{ name: RUN_CODE, description: this.description, parameters: PARAMETERS }] }];
  }

  /** `tools` of the Vercel AI SDK (`ai`), whose `jsonSchema` is given: `generateText({ tools: fc.tools.aiSdk(jsonSchema) })`. */
  aiSdk<S>(jsonSchema: (schema: typeof PARAMETERS) => S, options: RunOptions = {}) {
    const execute = async (input: unknown): Promise<string> => {
      const call: Call = { provider: "ai_sdk", name: RUN_CODE, id: "", input: input as Record<string, unknown> };
      return (await this.answer(checked(call), options)).text;
    };
    return { [RUN_CODE]: { description: this.description, inputSchema: jsonSchema(PARAMETERS), execute } };
  }

  /**
   * Runs what a model asks for, and returns the message that answers it, as the next request has it.
   *
   * What is wrong with a call is told to the model; errors of the service are thrown. `options` are those of `run()`, and win over the
   * model's: `handle(call, { template: "python-data" })`.
   */
  async handle(toolCall: unknown, options: RunOptions = {}): Promise<any> {
    const call = readCall(toolCall);
    return messageOf(call, await this.answer(call, options));
  }

  /** Runs what a model asks for, in no provider's words: the input in, what the model is to be told out. */
  async call(input: RunCodeInput, options: RunOptions = {}): Promise<ToolAnswer> {
    return this.answer(checked({ provider: "ai_sdk", name: RUN_CODE, id: "", input: { ...input } }), options);
  }

  private async answer({ input, problem }: Call, options: RunOptions): Promise<ToolAnswer> {
    if (problem !== undefined) return { text: problem, isError: true };
    const { code, language, stdin } = input as unknown as RunCodeInput;
    try {
      return answerOf(await this.runs(code, { ...(language && { language }), ...(stdin && { stdin }), ...options }));
    } catch (error) {
      // Only what the model itself may have said wrong is for it to mend.
      if (error instanceof Rejected && error.status === 422) return { text: error.message, isError: true };
      throw error;
    }
  }
}

/** Reads a call as a provider's package or its JSON has it. Throws `TypeError` for what is none. */
function readCall(toolCall: unknown): Call {
  const call = (toolCall ?? {}) as Record<string, any>;
  const { type, id } = call;
  if (call["function"]) return callOf("openai", call["function"].name, call["function"].arguments, id);
  if (type === "function_call") return callOf("openai_responses", call["name"], call["arguments"], call["call_id"]);
  if (type === "tool_use") return callOf("anthropic", call["name"], call["input"], id);
  if (type === "tool-call") return callOf("ai_sdk", call["toolName"], call["input"], call["toolCallId"]);
  const inner = call["functionCall"] ?? call["function_call"] ?? call;
  if (inner.name !== undefined && "args" in inner) return callOf("gemini", inner.name, inner.args, inner.id);
  throw new TypeError(`not a tool call of OpenAI, Anthropic, Gemini or the AI SDK: ${JSON.stringify(toolCall)?.slice(0, 200)}`);
}

function callOf(provider: Call["provider"], name: unknown, said: unknown, id: unknown): Call {
  const call: Call = { provider, name: String(name), id: String(id ?? ""), input: {} };
  if (typeof said !== "string") return checked({ ...call, input: (said ?? {}) as Record<string, unknown> });
  try {
    return checked({ ...call, input: JSON.parse(said || "{}") });
  } catch (error) {
    return { ...call, problem: `the arguments are not JSON: ${(error as Error).message}` };
  }
}

function checked(call: Call): Call {
  if (call.name !== RUN_CODE) return { ...call, problem: `there is no tool "${call.name}", only "${RUN_CODE}"` };
  if (typeof call.input?.["code"] !== "string") return { ...call, problem: "`code` is missing, or not a string" };
  return call;
}

/** What a model is told of a run. */
function answerOf(run: Run): ToolAnswer {
  const parts: string[] = [];
  if (run.stdout) parts.push(clipped(run.stdout));
  if (run.stderr) parts.push(`stderr:\n${clipped(run.stderr)}`);
  if (run.value !== undefined && run.language === "python") {
    parts.push(`value: ${clipped(String(run.result?.["text/plain"] ?? run.value))}`);
  }
  const files = run.artifacts.slice(0, 50).map((file) => `${file.path} (${file.bytes} bytes)`);
  if (files.length) parts.push(`files: ${files.join(", ")}`);
  if (!run.ok) parts.push(fate(run));
  return { text: parts.join("\n") || "(no output)", isError: !run.ok, run };
}

/** The answer as the provider's next request has it. */
function messageOf(call: Call, { text, isError }: ToolAnswer): object {
  const { id, name } = call;
  switch (call.provider) {
    case "openai":
      return { role: "tool", tool_call_id: id, content: text };
    case "openai_responses":
      return { type: "function_call_output", call_id: id, output: text };
    case "anthropic":
      return { type: "tool_result", tool_use_id: id, content: text, is_error: isError };
    case "gemini":
      return { functionResponse: { ...(id && { id }), name, response: { [isError ? "error" : "output"]: text } } };
    case "ai_sdk":
      return { type: "tool-result", toolCallId: id, toolName: name, output: { type: isError ? "error-text" : "text", value: text } };
  }
}

function fate(run: Run): string {
  if (run.outcome === "failed") return `exit code ${run.exit_code}`;
  if (run.outcome === "signalled") return `ended by ${run.signal}`;
  return `ended: ${run.outcome}${run.limits_hit.length ? ` (limits hit: ${run.limits_hit.join(", ")})` : ""}`;
}

function clipped(text: string): string {
  const whole = text.replace(/\n+$/, "");
  if (whole.length <= TOLD_CHARS_MAX) return whole;
  const half = TOLD_CHARS_MAX / 2;
  return `${whole.slice(0, half)}\n[${whole.length - 2 * half} characters left out]\n${whole.slice(-half)}`;
}
