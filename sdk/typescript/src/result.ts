/** What a result can do besides being read. Its fields are the service's, as api/openapi.json has them. */

import type { components } from "./api.js";
import { fromBase64 } from "./base64.js";
import { RunFailed } from "./errors.js";

/** One run and all that came of it. */
export type RunResult = components["schemas"]["RunResult"];

/** One piece of rich output, by MIME type. Images are base64, as Jupyter has them; `displayBytes` decodes. */
export type Display = Record<string, unknown>;

/** A result, and what one asks of it. */
export interface Run extends RunResult {
  /** Whether the code ran to its end and exited with 0. */
  readonly ok: boolean;
  /** The value of the code's last expression: as JSON has it, else as text; undefined without one. */
  readonly value: unknown;
  /** Itself, if the code completed; else throws `RunFailed`, which has it. */
  check(): Run;
}

// On the prototype, so that a result is sent and shown as the service told it.
const abilities = Object.create(null, {
  ok: {
    get(this: Run): boolean {
      return this.outcome === "completed";
    },
  },
  value: {
    get(this: Run): unknown {
      const values = this.result ?? {};
      return "application/json" in values ? values["application/json"] : values["text/plain"];
    },
  },
  check: {
    value(this: Run): Run {
      if (!this.ok) throw new RunFailed(this);
      return this;
    },
  },
});

/** A result as the service told it, with its abilities. */
export function runOf(result: RunResult): Run {
  return Object.assign(Object.create(abilities), result);
}

// Forms by how much they show, the most first.
const RICHEST = [
  "image/png",
  "image/jpeg",
  "image/svg+xml",
  "application/pdf",
  "text/html",
  "text/markdown",
  "text/latex",
  "application/json",
];

/** The form of a display that shows most: an image before a page, a page before text. Empty when it has none. */
export function displayMime(display: Display): string {
  return RICHEST.find((mime) => mime in display) ?? Object.keys(display)[0] ?? "";
}

/** The content of a display in one of its forms, by default the one that shows most. Throws when it has no such form. */
export function displayBytes(display: Display, mime: string = displayMime(display)): Uint8Array {
  const content = display[mime];
  if (content === undefined) throw new RangeError(`this display has no ${mime || "content"}`);
  const text = typeof content === "string" ? content : JSON.stringify(content);
  const binary = mime === "application/pdf" || (mime.startsWith("image/") && mime !== "image/svg+xml");
  return binary ? fromBase64(text) : new TextEncoder().encode(text);
}
