/** Splits a body into lines at line feeds, piece by piece. */

/** The lines of a body without their ends. What stands after the last line feed is one too, unless it is empty. */
export async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      const lines = rest.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) yield line.endsWith("\r") ? line.slice(0, -1) : line;
      if (done) {
        if (rest) yield rest;
        return;
      }
    }
  } finally {
    // Whoever leaves early wants no more of it; of a body that broke, there is none.
    await reader.cancel().catch(() => undefined);
  }
}
