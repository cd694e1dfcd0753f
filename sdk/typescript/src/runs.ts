/** Runs: one program, once, in a fresh sandbox. */

import type { components, operations } from "./api.js";
import { RunFaulted } from "./errors.js";
import { pagesOf } from "./pages.js";
import { onePart, partsOf, type RunOptions } from "./request.js";
import { type Run, type RunResult, runOf } from "./result.js";
import { RunStream } from "./stream.js";
import type { Transport } from "./transport.js";

/** A run as lists show it. */
export type RunSummary = components["schemas"]["RunSummary"];

/** Which runs are listed. */
export type RunFilters = Omit<NonNullable<operations["list_runs"]["parameters"]["query"]>, "cursor">;

type Sent = Pick<RunOptions, "idempotencyKey" | "signal">;

/** `/v1/runs`. */
export class Runs {
  constructor(
    private readonly transport: Transport,
    private readonly submitAt = "/v1/runs",
  ) {}

  /** Submits a run and waits until it is settled. Throws `RunFaulted` for a fault that stays after all retries that are safe. */
  async run(request: object, { idempotencyKey, signal }: Sent = {}): Promise<Run> {
    for (let attempt = 0; ; attempt++) {
      // A fault is an answer too: with the same key it would be told again.
      const headers = { "idempotency-key": idempotencyKey ?? crypto.randomUUID() };
      const asked = { json: request, headers, signal };
      const run = runOf(await this.transport.ask<RunResult>("POST", this.submitAt, asked));
      if (!run.fault) return run;
      const hopeful = idempotencyKey === undefined && run.fault.retry_safe;
      await this.transport.pause(new RunFaulted(run), attempt, hopeful, signal);
    }
  }

  /** Submits a run and returns as soon as it is recorded. */
  async submit(request: object, { idempotencyKey, signal }: Sent = {}): Promise<RunSummary> {
    const headers = { "idempotency-key": idempotencyKey ?? crypto.randomUUID() };
    return this.transport.ask("POST", this.submitAt, { json: { ...request, wait: false }, headers, signal });
  }

  /** Submits a run when the first event is asked for. */
  stream(request: object, { idempotencyKey, signal }: Sent = {}): RunStream {
    const key = idempotencyKey ?? crypto.randomUUID();
    return new RunStream(this.transport, { submitAt: this.submitAt, request, key }, signal);
  }

  /** Events of a run, those after the one numbered `after`, whether it is on its way or settled. */
  follow(id: string, after = 0): RunStream {
    return new RunStream(this.transport, { id, after });
  }

  /** The result of a run, once it is settled. */
  async wait(id: string): Promise<Run> {
    return this.follow(id).done();
  }

  /** A run: its result once it is settled, a summary before. */
  async get(id: string): Promise<Run | RunSummary> {
    const response = await this.transport.send("GET", `/v1/runs/${onePart(id)}`);
    const told = await this.transport.read(response, (whole) => whole.json());
    return response.status === 202 ? (told as RunSummary) : runOf(told as RunResult);
  }

  /** Runs, newest first, fetched page by page. */
  list(filters: RunFilters = {}): AsyncGenerator<RunSummary> {
    return pagesOf(this.transport, "/v1/runs", filters as Record<string, string>);
  }

  /** Takes back a run that is on its way, or forgets a settled one with its events and artifacts. */
  async remove(id: string): Promise<void> {
    // Never sent twice: the first takes the run back, a second would forget it.
    const response = await this.transport.send("DELETE", `/v1/runs/${onePart(id)}`);
    await this.transport.read(response, (whole) => whole.text());
  }

  /** The content of a file that a run left behind. */
  async artifact(run: RunResult | string, path: string): Promise<Uint8Array> {
    const id = typeof run === "string" ? run : run.id;
    const response = await this.transport.send("GET", `/v1/runs/${onePart(id)}/artifacts/${partsOf(path)}`);
    return new Uint8Array(await this.transport.read(response, (whole) => whole.arrayBuffer()));
  }
}
