/** Batches: many runs, graded programs and samples in one request. docs/batches.md has all kinds of items. */

import type { components } from "./api.js";
import { FireclayError, Unreachable } from "./errors.js";
import { linesOf } from "./lines.js";
import { pagesOf } from "./pages.js";
import { type BatchItem, onePart } from "./request.js";
import type { Transport } from "./transport.js";

type Schemas = components["schemas"];

/** What became of one item. */
export type Answer = Schemas["Answer"];

/** What a batch as a whole came to. */
export type Summary = Schemas["Summary"];

/** A batch: how far it is, and what it came to. */
export type BatchSummary = Schemas["BatchSummary"];

/** How a batch is done. */
export interface BatchOptions {
  /** Runs at once; as many as keep the machine busy if not said. */
  concurrency?: number;
  /** Whether identical items are run once. */
  dedupe?: boolean;
  /** Gives the batch up: what runs is taken back. */
  signal?: AbortSignal;
}

/**
 * Answers of one batch, in the order in which they are done; `summary` is there at the end.
 *
 * Leaving it early takes the batch back. A connection that breaks does too, so nothing is sent again by itself.
 */
export class BatchStream implements AsyncIterable<Answer> {
  /** The batch; undefined before the service has answered. */
  batchId: string | undefined;
  /** What it came to, once all answers are read. */
  summary: Summary | undefined;
  private readonly answers: AsyncGenerator<Answer>;

  constructor(
    private readonly transport: Transport,
    private readonly items: Iterable<BatchItem>,
    private readonly options: BatchOptions,
  ) {
    this.answers = this.read();
  }

  [Symbol.asyncIterator](): AsyncIterator<Answer> {
    return this.answers;
  }

  private async *read(): AsyncGenerator<Answer> {
    const { signal, ...query } = this.options;
    const response = await this.transport.send("POST", "/v1/batches", { query, body: bodyOf(this.items), signal });
    if (!response.body) throw new Unreachable("an answer without a body");
    try {
      for await (const line of linesOf(response.body)) {
        const answer = line && this.take(line);
        if (answer) yield answer;
      }
    } catch (error) {
      throw this.transport.unreachable(error);
    }
    if (!this.summary) throw new Unreachable(`the answers of ${this.batchId ?? "the batch"} broke off`);
  }

  private take(line: string): Answer | undefined {
    const told = JSON.parse(line) as Partial<Answer> & { batch?: string; summary?: Summary };
    if (told.index !== undefined) return told as Answer;
    this.batchId = told.batch ?? this.batchId;
    if (told.summary) this.summary = told.summary;
    else if (told.batch === undefined) throw new FireclayError(`the service sent a line that cannot be read: ${line.slice(0, 200)}`);
    return undefined;
  }
}

/** `/v1/batches`. */
export class Batches {
  constructor(private readonly transport: Transport) {}

  /** Submits a batch when the first answer is asked for, and has the answers as they are done. */
  run(items: Iterable<BatchItem>, options: BatchOptions = {}): BatchStream {
    return new BatchStream(this.transport, items, options);
  }

  /** Submits a batch and returns when all of it is recorded; it goes on without the caller. `answers` reads what came of it. */
  async submit(
    items: Iterable<BatchItem>,
    { signal, idempotencyKey, ...query }: BatchOptions & { idempotencyKey?: string } = {},
  ): Promise<BatchSummary> {
    const headers: Record<string, string> = idempotencyKey ? { "idempotency-key": idempotencyKey } : {};
    return this.transport.ask("POST", "/v1/batches", { query: { wait: false, ...query }, headers, body: bodyOf(items), signal });
  }

  /** How far a batch is, and what it came to. */
  async get(id: string): Promise<BatchSummary> {
    return this.transport.ask("GET", `/v1/batches/${onePart(id)}`);
  }

  /** Batches, newest first, fetched page by page. */
  list(): AsyncGenerator<BatchSummary> {
    return pagesOf(this.transport, "/v1/batches", {});
  }

  /** Takes back a batch that is on its way. */
  async cancel(id: string): Promise<BatchSummary> {
    return this.transport.ask("DELETE", `/v1/batches/${onePart(id)}`);
  }

  /** The answers of a batch that are there, in the order of its items, those after the index `after`. */
  async *answers(id: string, after?: number): AsyncGenerator<Answer> {
    for (;;) {
      const response = await this.transport.send("GET", `/v1/batches/${onePart(id)}/items`, { query: { after } });
      const text = await this.transport.read(response, (whole) => whole.text());
      const lines = text.split("\n").filter((line) => line);
      if (!lines.length) return;
      for (const line of lines) {
        const answer = JSON.parse(line) as Answer;
        after = answer.index;
        yield answer;
      }
    }
  }
}

function bodyOf(items: Iterable<BatchItem>): { type: string; content: string } {
  const lines = Array.from(items, (item) => `${JSON.stringify(item)}\n`);
  return { type: "application/x-ndjson", content: lines.join("") };
}
