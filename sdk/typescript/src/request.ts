/** Puts requests together. What is wrong with one is for the service to say, in one place and for every client. */

import type { components } from "./api.js";
import { toBase64 } from "./base64.js";

type Schemas = components["schemas"];

/** python, bash, javascript or typescript. */
export type Language = Schemas["Language"];

/** A file's content: text, or bytes. */
export type FileContent = string | Uint8Array;

/** Files by their path in the workspace; or as the API has them. */
export type Files = Record<string, FileContent> | Schemas["InputFile"][];

/** What every request may have besides what it asks. */
export interface AskOptions {
  /** Gives up waiting. A run that has begun goes on: `runs.remove` takes it back. */
  signal?: AbortSignal;
}

type SaidOfRuns = Partial<Omit<Schemas["RunRequest"], "code" | "files">>;

/** What a run may have besides its code: `language`, `template`, `stdin`, `args`, `env`, `files`, `limits`, `metadata` … */
export interface RunOptions extends SaidOfRuns, AskOptions {
  files?: Files;
  /** With the same key the same request is run once, however often it is sent. One is made if none is said. */
  idempotencyKey?: string;
}

/** What a run of a session may have. In the interpreter that keeps its state, `limits` may name `timeout_ms` and `output_bytes` only. */
export interface SessionRunOptions extends Omit<RunOptions, "template"> {
  /** Whether it is a program of its own, beside others, with the same files. Then `cwd: "private"` is an empty directory of its own. */
  fresh?: boolean;
}

/** A run of a batch; `id` is the caller's own name for it, returned with the answer. */
export type BatchRun = Partial<Schemas["RunRequest"]> & { id?: string };

/** A graded program of a batch, or a group of them. */
export type BatchGrading = Partial<Schemas["GradingSaid"]> & { id?: string };

/** One item of a batch: docs/batches.md has all kinds. */
export type BatchItem = BatchRun | BatchGrading;

/** A run as the API has it; also an item of a batch. The language is by `file_name` or by the code's first line, else Python. */
export function runRequest(code: string, options: RunOptions = {}): BatchRun {
  const byCode = options.file_name != null || code.startsWith("#!");
  return sessionRunRequest(code, byCode ? options : { language: "python", ...said(options) });
}

/** A run of a session as the API has it. The language is by `file_name`, else the session's. */
export function sessionRunRequest(code: string, options: RunOptions & SessionRunOptions = {}): BatchRun & { fresh?: boolean } {
  const { signal: _signal, idempotencyKey: _key, files, ...rest } = options;
  return { code, ...said({ ...rest, files: files && inputFiles(files) }) };
}

/** Files as the API has them. */
export function inputFiles(files: Files): Schemas["InputFile"][] {
  if (Array.isArray(files)) return files;
  return Object.entries(files).map(([path, content]) =>
    typeof content === "string" ? { path, text: content } : { path, base64: toBase64(content) },
  );
}

/** Without what is not said, which is the service's to choose. */
export function said<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null)) as T;
}

/** A word as one part of an address. */
export function onePart(word: string): string {
  // `fetch` would resolve dots, to another address (WHATWG URL), even encoded: no name of ours is made of them.
  if (word === "." || word === "..") throw new RangeError(`${word} is no name`);
  return encodeURIComponent(word);
}

/** A path of a workspace as parts of an address, as many as it has. */
export function partsOf(path: string): string {
  return path.split("/").map(onePart).join("/");
}
