/** A service that answers what it is told to, for what a real one does not do at will. */

import { Fireclay } from "../src/index.js";

/** What is answered: a response, or an error of the connection. */
export type Told = Response | Error;

/** A request as it was sent. */
export interface Asked {
  method: string;
  path: string;
  headers: Headers;
  body: string;
}

/** Answers requests in turn, and remembers them. */
export class FakeService {
  readonly asked: Asked[] = [];
  private readonly told: Told[];

  constructor(...told: Told[]) {
    this.told = told;
  }

  /** A client of it, which waits for nothing. */
  client(retries = 3): Fireclay {
    return new Fireclay({ url: "http://there", apiKey: "fc_key", retries, fetch: this.fetch });
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const { pathname, search } = new URL(String(input));
    const { method = "GET", body, headers } = init ?? {};
    this.asked.push({ method, path: pathname + search, headers: new Headers(headers), body: String(body ?? "") });
    const told = this.told.shift();
    if (!told) throw new Error(`nobody expected ${method} ${pathname}`);
    if (told instanceof Error) throw told;
    return told;
  };
}

/** A problem document. */
export function problem(status: number, more: object = {}, headers: Record<string, string> = {}): Response {
  const document = { type: "/problems/x", title: "t", status, detail: "what is wrong", hint: "what to do", ...more };
  return Response.json(document, { status, headers: { "content-type": "application/problem+json", ...headers } });
}

/** A stream of events; without a last one that is `settled`, it breaks off. */
export function events(...list: [number, string, unknown][]): Response {
  const text = list.map(([id, event, data]) => `: kept\nid: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`).join("");
  return new Response(text, { headers: { "content-type": "text/event-stream", location: "/v1/runs/run_1" } });
}

/** A connection that was refused, as Node says it. */
export function refused(): Error {
  return new TypeError("fetch failed", { cause: Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" }) });
}

/** A connection that broke after the request was sent. */
export function broken(): Error {
  return new TypeError("fetch failed", { cause: Object.assign(new Error("other side closed"), { code: "UND_ERR_SOCKET" }) });
}

/** A settled run. */
export const SETTLED = {
  id: "run_1",
  state: "settled",
  outcome: "completed",
  exit_code: 0,
  stdout: "out\n",
  stderr: "",
  limits_hit: [],
  artifacts: [],
  displays: [],
  result: { "text/plain": "'a'", "application/json": "a" },
  language: "python",
};
