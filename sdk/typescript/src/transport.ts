/** Sends requests and sends them again where that is safe. Knows nothing of what they ask. */

import { errorOf, FireclayError, type Problem, ProblemError, RunFaulted, Unreachable } from "./errors.js";

/** How a client asks. */
export interface Settings {
  /** Where the service is, such as `http://127.0.0.1:8000`. FIRECLAY_URL, where there is an environment. */
  url?: string;
  /** The key, if the service wants one. FIRECLAY_API_KEY, where there is an environment. */
  apiKey?: string;
  /** How long the service may take to begin an answer, in milliseconds: longer than a run may take. */
  timeoutMs?: number;
  /** How often a request is sent again where that is safe. */
  retries?: number;
  /** Another `fetch`: for proxies, certificates, tests. */
  fetch?: typeof fetch;
}

/** One request. */
export interface Asked {
  query?: Record<string, string | number | boolean | null | undefined>;
  headers?: Record<string, string>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is, with this type. */
  body?: { type: string; content: Uint8Array | string };
  /** Whether to do it twice is to do it once. By default if it reads, writes a file, or has an idempotency key. */
  repeatable?: boolean;
  signal?: AbortSignal | undefined;
}

// Waits double from here, and never pass the second, whatever the service says.
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 30_000;
// An error's body that is longer is no problem document.
const PROBLEM_CHARS_MAX = 1 << 20;
// A connection that was never made: what Node's fetch says. Browsers do not tell.
const NEVER_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"]);

/** One service. */
export class Transport {
  readonly url: string;
  readonly retries: number;
  private readonly headers: Record<string, string>;
  private readonly timeoutMs: number;
  private readonly fetch: typeof fetch;

  constructor(settings: Settings) {
    const url = settings.url || environment("FIRECLAY_URL");
    if (!url) {
      throw new FireclayError("no service is named: set FIRECLAY_URL, or say new Fireclay({ url }); `fireclay serve` starts one");
    }
    if (!/^https?:\/\//.test(url)) {
      throw new FireclayError(`${JSON.stringify(url)} is not an address of a service: use http://HOST:PORT`);
    }
    const key = settings.apiKey || environment("FIRECLAY_API_KEY");
    this.url = url.replace(/\/+$/, "");
    this.headers = key ? { authorization: `Bearer ${key}` } : {};
    this.retries = Math.max(0, settings.retries ?? 3);
    this.timeoutMs = settings.timeoutMs ?? 600_000;
    // Browsers' own wants to be called on nothing else than the window.
    this.fetch = settings.fetch ?? ((input, init) => globalThis.fetch(input, init));
  }

  /** Asks, and returns an answer whose body is still to come. Throws for a problem. */
  async send(method: string, path: string, asked: Asked = {}): Promise<Response> {
    const repeatable = isRepeatable(method, asked);
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.once(method, path, asked);
      } catch (error) {
        await this.pause(error, attempt, repeatable, asked.signal);
      }
    }
  }

  /** Asks and reads the answer as JSON. An answer that breaks off counts as none came. */
  async ask<T>(method: string, path: string, asked: Asked = {}): Promise<T> {
    const repeatable = isRepeatable(method, asked);
    for (let attempt = 0; ; attempt++) {
      const response = await this.send(method, path, asked);
      try {
        return (await this.read(response, (whole) => whole.json())) as T;
      } catch (error) {
        await this.pause(error, attempt, repeatable, asked.signal);
      }
    }
  }

  /** The body of an answer. Throws `Unreachable` when it breaks off. */
  async read<T>(response: Response, how: (response: Response) => Promise<T>): Promise<T> {
    try {
      return await how(response);
    } catch (error) {
      if (error instanceof SyntaxError) throw new FireclayError(`${response.url} answers no JSON`, { cause: error });
      throw this.unreachable(error);
    }
  }

  /** Waits before a request is sent again; throws the error when it must not be. */
  async pause(error: unknown, attempt: number, repeatable: boolean, signal?: AbortSignal): Promise<void> {
    const wait = signal?.aborted ? undefined : waitBeforeRetry(error, attempt, repeatable);
    if (wait === undefined || attempt >= this.retries) throw error;
    await new Promise((resolve) => setTimeout(resolve, wait));
  }

  /** The error for a connection that failed, or was given up. */
  unreachable(error: unknown): unknown {
    if (error instanceof FireclayError || (error instanceof DOMException && error.name === "AbortError")) return error;
    const { message, cause } = error as Error;
    const said = (cause as Error | undefined)?.message || message;
    return new Unreachable(`ask ${this.url}: ${said}`, { cause: error });
  }

  private async once(method: string, path: string, asked: Asked): Promise<Response> {
    const headers: Record<string, string> = { ...this.headers, ...asked.headers };
    let body: BodyInit | undefined;
    if (asked.json !== undefined) {
      headers["content-type"] = "application/json";
      body = JSON.stringify(asked.json);
    } else if (asked.body) {
      headers["content-type"] = asked.body.type;
      body = asked.body.content as BodyInit;
    }
    // The time is for the beginning of the answer only: events come for as long as a run goes on.
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new Unreachable(`${this.url} says nothing`)), this.timeoutMs);
    const signal = asked.signal ? AbortSignal.any([asked.signal, late.signal]) : late.signal;
    // Redirects are not followed: a key is for the service that was named.
    const init: RequestInit = { method, headers, signal, redirect: "error", ...(body !== undefined && { body }) };
    let response: Response;
    try {
      response = await this.fetch(this.url + path + queryOf(asked.query), init);
    } catch (error) {
      throw this.unreachable(error);
    } finally {
      clearTimeout(timer);
    }
    if (response.ok) return response;
    throw problemOf(response, await this.read(response, (whole) => whole.text()));
  }
}

/** How many milliseconds to wait before a request is sent again; undefined when it must not be.
 *
 * A request that was not taken (no connection, 429), or of which the service says that it may be repeated without harm (`retry_safe`), is
 * sent again whatever it asks. One that may have been carried out is, only if doing it twice is doing it once (`repeatable`).
 */
export function waitBeforeRetry(error: unknown, attempt: number, repeatable: boolean): number | undefined {
  const backoff = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt) * (0.5 + Math.random() / 2);
  if (error instanceof ProblemError) {
    const after = error.retryAfterMs;
    if (error.status === 429 || (error.status === 503 && after !== undefined)) {
      return after === undefined ? backoff : Math.min(after, LONGEST_WAIT_MS);
    }
    return error.problem.retry_safe ? backoff : undefined;
  }
  if (error instanceof RunFaulted) return repeatable ? backoff : undefined;
  if (error instanceof Unreachable) return repeatable || wasNeverSent(error.cause) ? backoff : undefined;
  return undefined;
}

function wasNeverSent(error: unknown): boolean {
  const cause = (error as { cause?: { code?: string } } | undefined)?.cause;
  return cause?.code !== undefined && NEVER_SENT.has(cause.code);
}

function isRepeatable(method: string, asked: Asked): boolean {
  return asked.repeatable ?? (method === "GET" || method === "PUT" || "idempotency-key" in (asked.headers ?? {}));
}

function problemOf(response: Response, text: string): ProblemError {
  const { status } = response;
  const after = response.headers.get("retry-after") ?? "";
  const retryAfterMs = /^\d+$/.test(after) ? Number(after) * 1000 : undefined;
  let problem: Problem | undefined;
  try {
    const document: unknown = JSON.parse(text.slice(0, PROBLEM_CHARS_MAX));
    if (typeof document === "object" && document !== null && "title" in document && "status" in document) {
      problem = document as Problem;
    }
  } catch {
    // Whoever answered is not fireclay, a proxy perhaps: what it said is still told.
  }
  const detail = text.slice(0, 500).trim() || `HTTP ${status}`;
  return errorOf(problem ?? { type: "about:blank", title: `HTTP ${status}`, status, detail, hint: "" }, retryAfterMs);
}

function queryOf(query: Asked["query"]): string {
  const said = Object.entries(query ?? {}).filter(([, value]) => value != null);
  return said.length ? `?${new URLSearchParams(said.map(([key, value]) => [key, String(value)]))}` : "";
}

function environment(name: string): string {
  const surroundings = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process;
  return surroundings?.env?.[name] ?? "";
}
