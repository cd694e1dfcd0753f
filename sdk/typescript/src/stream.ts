/** Follows a run as it happens, and takes up the thread where a connection breaks. */

import { FireclayError, RunFaulted, Unreachable } from "./errors.js";
import { eventsOf, type RunEvent } from "./events.js";
import { linesOf } from "./lines.js";
import { onePart } from "./request.js";
import type { Run } from "./result.js";
import type { Transport } from "./transport.js";

/** What is followed: a run that is there, or one that is submitted when the first event is asked for. */
export type Followed = { id: string; after: number } | { submitAt: string; request: unknown; key: string };

/**
 * Events of one run, in order, each once. Ends after `settled`; `result` is there then.
 *
 * Leaving it early closes the connection and leaves the run on its way: `runs.remove(stream.runId)` takes it back.
 */
export class RunStream implements AsyncIterable<RunEvent> {
  /** The run; undefined before the service has answered. */
  runId: string | undefined;
  private settled: Run | undefined;
  private seen: number;
  private readonly events: AsyncGenerator<RunEvent>;

  constructor(
    private readonly transport: Transport,
    private readonly followed: Followed,
    private readonly signal?: AbortSignal,
  ) {
    this.runId = "id" in followed ? followed.id : undefined;
    this.seen = "id" in followed ? followed.after : 0;
    this.events = this.follow();
  }

  /** The result, once the stream has ended. Throws `RunFaulted` when the service failed at the run. */
  get result(): Run {
    if (!this.settled) throw new FireclayError("the run is not settled: read its events to their end, or await done()");
    if (this.settled.fault) throw new RunFaulted(this.settled);
    return this.settled;
  }

  /** Reads the events that are left and returns the result. */
  async done(): Promise<Run> {
    for await (const _ of this.events);
    return this.result;
  }

  [Symbol.asyncIterator](): AsyncIterator<RunEvent> {
    return this.events;
  }

  private async *follow(): AsyncGenerator<RunEvent> {
    for (let attempt = 0; !this.settled; attempt++) {
      try {
        for await (const event of eventsOf(this.connection())) {
          // A run that is submitted again with its key is told from its beginning.
          if (event.id <= this.seen) continue;
          this.seen = event.id;
          attempt = -1;
          if (event.kind === "settled") this.settled = event.result;
          yield event;
          if (this.settled) return;
        }
        throw new Unreachable("the stream of events ended before the run did");
      } catch (error) {
        await this.transport.pause(error, Math.max(0, attempt), true, this.signal);
      }
    }
  }

  /** The lines of one connection. */
  private async *connection(): AsyncGenerator<string> {
    const response = await this.connect();
    this.runId ??= response.headers.get("location")?.split("/").pop() || undefined;
    if (!response.body) throw new Unreachable("an answer without a body");
    try {
      yield* linesOf(response.body);
    } catch (error) {
      throw this.transport.unreachable(error);
    }
  }

  private connect(): Promise<Response> {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    const signal = this.signal;
    if (this.runId === undefined && "request" in this.followed) {
      const { submitAt, request, key } = this.followed;
      headers["idempotency-key"] = key;
      return this.transport.send("POST", submitAt, { json: request, headers, signal });
    }
    headers["last-event-id"] = String(this.seen);
    return this.transport.send("GET", `/v1/runs/${onePart(this.runId ?? "")}/events`, { headers, signal });
  }
}
