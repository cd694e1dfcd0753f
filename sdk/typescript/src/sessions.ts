/** Sessions: sandboxes that stay, with interpreters that keep their state. */

import type { components } from "./api.js";
import { Conflict, FireclayError } from "./errors.js";
import { SessionFiles } from "./files.js";
import { pagesOf } from "./pages.js";
import { onePart, said, type SessionRunOptions, sessionRunRequest } from "./request.js";
import type { Run } from "./result.js";
import { Runs, type RunSummary } from "./runs.js";
import { RunStream } from "./stream.js";
import { Tools } from "./tools.js";
import type { Transport } from "./transport.js";

type Schemas = components["schemas"];

/** How a session is. */
export type SessionView = Schemas["SessionView"];

/** What a session may have; all may be left out: `template`, `language`, `name`, `limits`, `env`, `idle_ttl_ms`, `ttl_ms`. */
export type SessionOptions = Partial<Schemas["CreateSession"]>;

/** How many runs of `Session.map` are on their way, if nothing else is said. */
const MAP_CONCURRENCY = 16;

/**
 * One session. Runs are done in order, by an interpreter for each language: variables, imports and the working directory stay. With `fresh`
 * a run is a program of its own beside them, with the same files. `await using` closes it at the end of its block.
 */
export class Session implements AsyncDisposable {
  /** What `sessions.open` finds it by. */
  readonly id: string;
  /** Its workspace. */
  readonly files: SessionFiles;
  /** Definitions for models that call functions, and what answers their calls: by this session, which keeps state between them. */
  readonly tools: Tools;
  private readonly path: string;
  private readonly runs: Runs;

  constructor(
    private readonly transport: Transport,
    /** What the service last told of it; `look()` asks anew. */
    public view: SessionView,
  ) {
    this.id = view.id;
    this.path = `/v1/sessions/${onePart(view.id)}`;
    this.runs = new Runs(transport, `${this.path}/runs`);
    this.files = new SessionFiles(transport, this.path);
    // As its definition says: Python if the model names no language, whatever the session's is.
    this.tools = Tools.ofSession((code, options) => this.run(code, { language: "python", ...options }));
  }

  /**
   * Runs code, and returns when it is settled. One that takes too long is interrupted, and killed only if that does not help: then
   * `state_lost` says so. Throws `RunFaulted` when the service fails at it, and `Conflict` when the session has ended.
   */
  async run(code: string, options: SessionRunOptions = {}): Promise<Run> {
    // With a key of ours a fault is final: what the first try did to the session, a second would do again.
    const idempotencyKey = options.idempotencyKey ?? crypto.randomUUID();
    return this.runs.run(sessionRunRequest(code, options), { ...options, idempotencyKey });
  }

  /** Runs code and has its events as they happen. A connection that breaks is taken up again where it broke. */
  stream(code: string, options: SessionRunOptions = {}): RunStream {
    return this.runs.stream(sessionRunRequest(code, options), options);
  }

  /** Has code run without waiting for it: `runs.wait` does, with the run's id. */
  async submit(code: string, options: SessionRunOptions = {}): Promise<RunSummary> {
    return this.runs.submit(sessionRunRequest(code, options), options);
  }

  /**
   * Runs one program once for each input, which it reads on standard input; has the results in the order of the inputs.
   *
   * Each is a fresh program in an empty directory of its own, unless `cwd` names another. Throws for the first that the service failed at or
   * refused, and takes back those on their way, as it does when it is left early.
   */
  async *map(
    code: string,
    inputs: Iterable<string> | AsyncIterable<string>,
    { concurrency = MAP_CONCURRENCY, ...options }: SessionRunOptions & { concurrency?: number } = {},
  ): AsyncGenerator<Run> {
    if (concurrency < 1) throw new RangeError("concurrency is at least 1");
    const request = sessionRunRequest(code, { cwd: "private", ...options, fresh: true });
    const pending: string[] = [];
    try {
      for await (const stdin of inputs) {
        while (pending.length >= concurrency) yield await this.next(pending);
        pending.push((await this.runs.submit({ ...request, stdin }, { signal: options.signal })).id);
      }
      while (pending.length) yield await this.next(pending);
    } finally {
      // Why it ended early is the news, not what could not be taken back.
      await Promise.allSettled(pending.map((id) => this.interrupt(id)));
    }
  }

  private async next(pending: string[]): Promise<Run> {
    const run = await this.runs.wait(pending[0] as string);
    pending.shift();
    return run;
  }

  /**
   * Interrupts a run that waits or is on its way, as Ctrl-C would: it settles as `cancelled`, and the session's state stays unless
   * `state_lost` says otherwise. Answers whether there was something to interrupt; a settled run is left as it is.
   */
  async interrupt(run: string | RunSummary | RunStream): Promise<boolean> {
    const id = typeof run === "string" ? run : run instanceof RunStream ? run.runId : run.id;
    if (id === undefined) throw new FireclayError("the run has not begun: read the first event of its stream");
    if ((await this.runs.get(id)).state === "settled") return false;
    await this.runs.remove(id);
    return true;
  }

  /** Begins all interpreters anew. Their state is cleared and what they run is cancelled; files are kept. */
  async restart(): Promise<SessionView> {
    return (this.view = await this.transport.ask("POST", `${this.path}/restart`));
  }

  /** Has its files saved now, of a session that was created with `durable: true`; returns when they are. */
  async save(): Promise<SessionView> {
    return (this.view = await this.transport.ask("POST", `${this.path}/save`));
  }

  /** Gives it more time, from now on: `idle_ttl_ms` when nothing runs, else as before; `ttl_ms` at most, else as much as may be. */
  async renew(times: { idle_ttl_ms?: number; ttl_ms?: number } = {}): Promise<SessionView> {
    return (this.view = await this.transport.ask("POST", `${this.path}/renew`, { json: said(times), repeatable: true }));
  }

  /**
   * A link that lets a browser in to what listens on a port of the sandbox's loopback: once, and within a minute. The session must have been
   * opened with `ports: true`. Programs need no link: they send their key to the link's host.
   */
  async portUrl(port: number): Promise<string> {
    const link: Schemas["PortLink"] = await this.transport.ask("POST", `${this.path}/ports/${port}`);
    return link.url;
  }

  /** How it is now: open or ended and why, its limits, its times, how many runs there were. */
  async look(): Promise<SessionView> {
    return (this.view = await this.transport.ask("GET", this.path));
  }

  /** Ends it, with all that runs in it. Its files can be read until `end.files_until`. One that has ended is left as it is. */
  async close(): Promise<SessionView> {
    try {
      return (this.view = await this.transport.ask("DELETE", this.path, { repeatable: true }));
    } catch (error) {
      // It ended by itself, or the answer to our first try was lost.
      if (error instanceof Conflict) return this.look();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** `/v1/sessions`. */
export class Sessions {
  constructor(private readonly transport: Transport) {}

  /** Opens a session, which stays until it is closed or its time is over. */
  async create(options: SessionOptions = {}): Promise<Session> {
    return new Session(this.transport, await this.transport.ask("POST", "/v1/sessions", { json: said(options) }));
  }

  /** Comes back to a session, from another program too. Of one that has ended there are only files, for a while. */
  async open(id: string): Promise<Session> {
    return new Session(this.transport, await this.get(id));
  }

  /** How a session is. */
  async get(id: string): Promise<SessionView> {
    return this.transport.ask("GET", `/v1/sessions/${onePart(id)}`);
  }

  /** Sessions, newest first, fetched page by page: all of them, or those that are `open` or have `ended`. */
  list(state?: Schemas["SessionState"]): AsyncGenerator<SessionView> {
    return pagesOf(this.transport, "/v1/sessions", { state });
  }
}
