/**
 * Runs code that a language model wrote: safely, at once, on your own machine.
 *
 *     import { Fireclay } from "fireclay";
 *
 *     const fc = new Fireclay({ url: "http://127.0.0.1:8000" });
 *     console.log((await fc.run("print(sum(range(101)))")).stdout);
 */

export type { Answer, BatchOptions, BatchStream, BatchSummary, Summary } from "./batches.js";
export { Fireclay } from "./client.js";
export * from "./errors.js";
export type { RunEvent } from "./events.js";
export type { FileList, FileView, SessionFiles } from "./files.js";
export {
  type BatchGrading,
  type BatchItem,
  type BatchRun,
  type FileContent,
  type Files,
  type Language,
  type RunOptions,
  runRequest,
  type SessionRunOptions,
} from "./request.js";
export { type Display, displayBytes, displayMime, type Run, type RunResult } from "./result.js";
export type { RunFilters, RunSummary } from "./runs.js";
export type { Session, SessionOptions, SessionView } from "./sessions.js";
export type { RunStream } from "./stream.js";
export { RUN_CODE, type RunCodeInput, type ToolAnswer, type Tools } from "./tools.js";
export type { Settings } from "./transport.js";
