/** The client: what one asks of a service, in a word each. */

import type { components } from "./api.js";
import { type Answer, Batches, type BatchOptions, type BatchStream } from "./batches.js";
import { errorOf, FireclayError, RunFaulted } from "./errors.js";
import { type BatchItem, type RunOptions, runRequest } from "./request.js";
import { type Run, runOf } from "./result.js";
import { Runs } from "./runs.js";
import { type Session, type SessionOptions, Sessions } from "./sessions.js";
import type { RunStream } from "./stream.js";
import { Tools } from "./tools.js";
import { type Settings, Transport } from "./transport.js";

type Schemas = components["schemas"];

/** A service that runs code. */
export class Fireclay {
  /** Runs: submit, list, look at, take back, forget; their files. */
  readonly runs: Runs;
  /** Sessions: open, list, look at, close, come back to. */
  readonly sessions: Sessions;
  /** Batches that go on without the caller. */
  readonly batches: Batches;
  /** Definitions for models that call functions, and what answers their calls. */
  readonly tools: Tools;
  private readonly transport: Transport;

  constructor(settings: Settings = {}) {
    this.transport = new Transport(settings);
    this.runs = new Runs(this.transport);
    this.sessions = new Sessions(this.transport);
    this.batches = new Batches(this.transport);
    this.tools = Tools.fresh((code, options) => this.run(code, options));
  }

  /** Where the service is. */
  get url(): string {
    return this.transport.url;
  }

  /**
   * Runs code in a fresh sandbox, and returns when it is settled.
   *
   * What the code does is in the result: it is no error here when it fails (`(await fc.run(code)).check()` makes it one).
   */
  async run(code: string, options: RunOptions = {}): Promise<Run> {
    return this.runs.run(runRequest(code, options), options);
  }

  /** Runs code and has its events as they happen. A connection that breaks is taken up again where it broke. */
  stream(code: string, options: RunOptions = {}): RunStream {
    return this.runs.stream(runRequest(code, options), options);
  }

  /** Opens a sandbox that stays: what code leaves in memory and in files, the next code finds. It is yours to close. */
  async session(options: SessionOptions = {}): Promise<Session> {
    return this.sessions.create(options);
  }

  /** Runs and grades many programs, and has their answers as they are done. docs/batches.md has all kinds of items. */
  batch(items: Iterable<BatchItem>, options: BatchOptions = {}): BatchStream {
    return this.batches.run(items, options);
  }

  /**
   * Runs one program once for each input, which it reads on standard input; has the results in the order of the inputs.
   *
   * Throws for the first that the service failed at or refused, and takes the others back, as it does when it is left early.
   */
  async *map(
    code: string,
    inputs: Iterable<string>,
    { concurrency, signal, ...options }: RunOptions & { concurrency?: number } = {},
  ): AsyncGenerator<Run> {
    const base = runRequest(code, options);
    const items = Array.from(inputs, (stdin) => ({ ...base, stdin }));
    const done = new Map<number, Run>();
    let following = 0;
    const how = { ...(concurrency && { concurrency }), ...(signal && { signal }) };
    for await (const answer of this.batch(items, how)) {
      done.set(answer.index, resultOf(answer));
      for (let run = done.get(following); run; run = done.get(following)) {
        done.delete(following++);
        yield run;
      }
    }
  }

  /** The limits of runs that name none, and the most that they may name. */
  async limits(): Promise<Schemas["LimitsInForce"]> {
    return this.transport.ask("GET", "/v1/limits");
  }

  /** Which fireclay this is, and which image runs see. */
  async version(): Promise<Schemas["Version"]> {
    return this.transport.ask("GET", "/version");
  }
}

/** The result that an answer of a plain run has, or its error. */
function resultOf({ index, problem, fault, run, verdict }: Answer): Run {
  if (problem) throw errorOf(problem);
  if (!run) throw new FireclayError(`item ${index}: ${fault?.message ?? verdict}`);
  const result = runOf(run);
  if (result.fault) throw new RunFaulted(result);
  return result;
}
