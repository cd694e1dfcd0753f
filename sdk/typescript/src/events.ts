/** Events of a run as they happen: server-sent events (HTML standard, section 9.2), read line by line. */

import { fromBase64 } from "./base64.js";
import { errorOf, FireclayError } from "./errors.js";
import { type Run, type RunResult, runOf } from "./result.js";

/** One event of a run; `id` is its number in the run, from 1 on. */
export type RunEvent =
  | { id: number; kind: "started" }
  /** `data` is what was written; `text` the same, bytes that are not UTF-8 replaced. */
  | { id: number; kind: "stdout" | "stderr"; data: Uint8Array; text: string }
  /** The events lack something of this stream. The result has head and tail. */
  | { id: number; kind: "omitted"; stream: string }
  /** The session was reopened on another node: files of then, and nothing that was in memory. */
  | { id: number; kind: "reopened"; at: string; fromNode: string; filesOf: string | undefined }
  | { id: number; kind: "settled"; result: Run };

/** Makes events of lines. */
export async function* eventsOf(lines: AsyncIterable<string>): AsyncGenerator<RunEvent> {
  let [id, kind] = ["", ""];
  let data: string[] = [];
  for await (const line of lines) {
    if (line) {
      const colon = line.indexOf(":");
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "data") data.push(value);
      else if (name === "event") kind = value;
      else if (name === "id") id = value;
      // Anything else is a comment that keeps the connection.
      continue;
    }
    if (data.length) yield eventOf(id, kind, JSON.parse(data.join("\n")));
    [kind, data] = ["", []];
  }
}

function eventOf(number: string, kind: string, data: Record<string, unknown>): RunEvent {
  // The end of a stream may be one.
  if (kind === "problem") throw errorOf(data as Parameters<typeof errorOf>[0]);
  const id = Number(number);
  if (!Number.isSafeInteger(id) || id < 1) throw new FireclayError(`the service sent an event that cannot be read: ${kind}`);
  switch (kind) {
    case "started":
      return { id, kind };
    case "stdout":
    case "stderr": {
      const encoded = data["base64"];
      const bytes =
        typeof encoded === "string" ? fromBase64(encoded) : new TextEncoder().encode(String(data["text"] ?? ""));
      return { id, kind, data: bytes, text: new TextDecoder().decode(bytes) };
    }
    case "omitted":
      return { id, kind, stream: String(data["stream"]) };
    case "reopened": {
      const filesOf = data["files_of"];
      const at = String(data["at"]);
      return { id, kind, at, fromNode: String(data["from_node"]), filesOf: typeof filesOf === "string" ? filesOf : undefined };
    }
    case "settled":
      return { id, kind, result: runOf(data as unknown as RunResult) };
    default:
      throw new FireclayError(`the service sent an event that this client does not know: ${kind}`);
  }
}
