// How numbers, times and outcomes are written.

export function ms(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0 ms";
  if (value < 1) return `${value.toFixed(2)} ms`;
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  if (value < 60_000) return `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
  if (value < 3_600_000) return `${Math.floor(value / 60_000)} min ${Math.round((value % 60_000) / 1000)} s`;
  return `${Math.floor(value / 3_600_000)} h ${Math.round((value % 3_600_000) / 60_000)} min`;
}

export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  for (const unit of ["KiB", "MiB", "GiB"]) {
    value /= 1024;
    if (value < 1024 || unit === "GiB") return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
  }
  return "";
}

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : value.toLocaleString("en");
}

export function dollars(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  return value === 0 ? "$0" : value < 0.01 ? `$${value.toPrecision(2)}` : `$${value.toFixed(2)}`;
}

export function clock(at: string | null | undefined): string {
  if (!at) return "–";
  const date = new Date(at);
  const time = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${time.slice(0, 5)}`;
}

export function ago(at: string): string {
  const seconds = Math.max(0, (Date.now() - Date.parse(at)) / 1000);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(at).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

const GOOD = ["completed", "answered", "passed", "open", "ok", "ready"];
const WARN = ["timed_out", "memory_exceeded", "output_exceeded", "disk_exceeded", "budget_exceeded", "cancelled", "interrupted", "waiting", "cordoned", "draining"];
const LIVE = ["running", "queued", "waiting"];

/** The tone of an outcome or a state. */
export function tone(outcome: string): string {
  if (outcome === "running" || outcome === "queued") return "cool live";
  if (LIVE.includes(outcome)) return "warn live";
  if (GOOD.includes(outcome)) return "good";
  if (WARN.includes(outcome)) return "warn";
  if (["ended", "settled", "closed", "idle", "expired"].includes(outcome)) return "";
  return "bad";
}

export function spoken(word: string): string {
  return word.replaceAll("_", " ");
}
