// How the console asks the service: the public API, with the cookie of the login and the header that shows that this page asks.

/** A problem document (RFC 9457). */
export interface Problem { title: string; status: number; detail: string; hint: string; field?: string | null }

/** What the service refused, or that it did not answer. */
export class Refused extends Error {
  constructor(readonly problem: Problem) { super(problem.detail); }
}

export const LOST: Problem = { title: "No answer", status: 0, detail: "the service does not answer", hint: "see whether it still runs" };

/** Told when a login has ended. */
export const onLoggedOut = { tell: () => {} };

/** Asks; any answer that is not a success is thrown as [Refused]. */
export async function ask(method: string, path: string, body?: unknown, init: RequestInit & { type?: string } = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("x-fireclay-console", "1");
  const isRaw = body instanceof Blob || body instanceof ArrayBuffer;
  if (body !== undefined) headers.set("content-type", init.type ?? (isRaw ? "application/octet-stream" : "application/json"));
  let answer: Response;
  try {
    answer = await fetch(path, { ...init, method, headers, body: body === undefined ? undefined : isRaw ? body : typeof body === "string" ? body : JSON.stringify(body) });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Refused(LOST);
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null) as Problem | null;
  if (answer.status === 401 && !path.startsWith("/console/")) onLoggedOut.tell();
  throw new Refused(told && told.detail ? told : { title: `Status ${answer.status}`, status: answer.status, detail: `status ${answer.status}`, hint: "" });
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await ask("GET", path, undefined, { signal })).json() as Promise<T>;
}

export async function send<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await ask(method, path, body);
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

/** One server-sent event. */
export interface Sent { id: string; event: string; data: any }

/** The events of an answer (HTML standard, §9.2), as they come. */
export async function* events(answer: Response): AsyncGenerator<Sent> {
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let sent = { id: "", event: "message", data: "" };
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop()!;
      for (const line of lines.map((line) => line.replace(/\r$/, ""))) {
        if (line === "") {
          if (sent.data !== "") yield { ...sent, data: parse(sent.data) };
          sent = { id: sent.id, event: "message", data: "" };
          continue;
        }
        const at = line.indexOf(":");
        if (at === 0) continue;
        const name = at < 0 ? line : line.slice(0, at);
        const said = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
        if (name === "data") sent.data += (sent.data ? "\n" : "") + said;
        else if (name === "event") sent.event = said;
        else if (name === "id") sent.id = said;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(text: string): any {
  try { return JSON.parse(text); } catch { return text; }
}

/** Follows events, and again after a break, until it is aborted. */
export async function follow(path: string, signal: AbortSignal, hear: (sent: Sent) => void): Promise<void> {
  let last = "";
  while (!signal.aborted) {
    try {
      const answer = await ask("GET", path, undefined, { signal, headers: last ? { accept: "text/event-stream", "last-event-id": last } : { accept: "text/event-stream" } });
      for await (const sent of events(answer)) {
        if (sent.id) last = sent.id;
        hear(sent);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.problem.status >= 400 && error.problem.status < 500) throw error;
    }
    await new Promise((done) => setTimeout(done, 1500));
  }
}

export function query(parts: Record<string, string | number | undefined | null>): string {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(parts)) if (value !== undefined && value !== null && value !== "") said.set(name, String(value));
  const text = said.toString();
  return text ? `?${text}` : "";
}

// What the routes answer, as far as the console shows it (api/openapi.json has it whole).
export type Language = "python" | "javascript" | "typescript" | "bash" | "c" | "cpp" | "rust" | "go" | "java" | "ruby" | "perl" | "php" | "r";
/** What each language is called, in the order in which they are offered. */
export const LABELS: Record<Language, string> = { python: "Python", javascript: "JavaScript", typescript: "TypeScript", bash: "Bash", c: "C", cpp: "C++", rust: "Rust", go: "Go", java: "Java", ruby: "Ruby", perl: "Perl", php: "PHP", r: "R" };
export const LANGUAGES = Object.keys(LABELS) as Language[];
/** Those whose interpreters stay, so that sessions and the agent take them. */
export const STAYING: Language[] = ["python", "javascript", "typescript", "bash"];
export type Bundle = Record<string, unknown>;
export interface Limits { timeout_ms: number; memory_bytes: number; cpus: number; processes: number; disk_bytes: number; output_bytes: number }
export interface Finding { rule: string; severity: "low" | "medium" | "high"; line: number; column: number; reason: string; advice: string }
export interface EgressAttempt { host: string; port: number; verdict: "allowed" | "refused" | "failed"; reason: string; bytes_up: number; bytes_down: number; ms: number }
export interface Artifact { path: string; bytes: number; sha256: string; mime: string }
export interface GuestError { name: string; message: string; traceback: string }
export interface Usage { wall_ms: number; cpu_ms: number; memory_peak_bytes: number; queue_ms: number }
export interface RunResult {
  id: string; state: string; outcome?: string | null; fault?: { code: string; message: string } | null; exit_code?: number | null; signal?: string | null;
  stdout: string; stderr: string; stdout_truncated: boolean; stderr_truncated: boolean; limits_hit: string[]; result?: Bundle | null; displays: Bundle[]; error?: GuestError | null;
  artifacts: Artifact[]; findings: Finding[]; egress: EgressAttempt[]; session?: string | null; language: Language; created_at: string; usage: Usage;
  isolation: { level: string; layers: string[]; missing: string[] }; metadata: Record<string, string>;
}
export interface RunSummary { id: string; state: string; outcome?: string | null; fault_code?: string | null; language: Language; created_at: string; settled_at?: string | null; usage: Usage; session?: string | null }
export interface SessionView {
  id: string; state: "open" | "ended"; name: string; created_at: string; template: string; language?: Language | null; background: string; packages: string[];
  egress?: { allow: string[] } | null; limits?: Limits | null; idle_ttl_ms?: number | null; ends_at?: string | null; expires_at?: string | null;
  runs: { queued: number; running: number; completed: number; failed: number }; end?: { at: string; why: string; detail: string } | null;
}
export interface FileView { path: string; kind: "file" | "directory" | "link" | "other"; bytes: number; modified_at: string }
export interface TraceRow {
  id: string; kind: "run" | "session" | "task" | "batch"; of: string; name: string; tenant: string; outcome: string | null; language: Language | null; model: string | null;
  started_at: string; ended_at: string | null; duration_ms: number | null; tokens_in: number | null; tokens_out: number | null; cost_usd: number | null; spans: number;
  input_preview: string; output_preview: string; remark: string | null; imported: boolean;
}
export interface Said { media_type: string; text: string | null; truncated: boolean; bytes: number }
export interface Span {
  id: string; parent: string | null; name: string; kind: string; started_at: string; ended_at: string | null; offset_ms: number; duration_ms: number | null;
  status: "ok" | "error" | "unset"; message: string | null; attributes: Record<string, unknown>; input: Said | null; output: Said | null;
  events: { name: string; at: string; attributes: Record<string, unknown> }[]; children: Span[];
}
export interface Trace extends TraceRow { tree: Span[] }
export interface TraceSummary {
  total: number; running: number; well: number; by_outcome: Record<string, number>; duration_ms: { p50: number | null; p90: number | null; p99: number | null; max: number | null };
  tokens_in: number; tokens_out: number; cost_usd: number; models: { model: string; calls: number; failed: number; tokens_in: number; tokens_out: number; cost_usd: number; duration_ms_mean: number }[];
  buckets: { at: string; by_outcome: Record<string, number>; p50: number | null; p99: number | null; cost_usd: number }[]; failed_lately: TraceRow[];
}
export interface Page<T> { items: T[]; next?: string | null }
