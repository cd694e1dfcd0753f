/** Lists that come page by page. */

import type { Transport } from "./transport.js";

/** One page: its items, and where the next one begins. */
interface Page<T> {
  items: T[];
  next?: string | null;
}

/** All items of a list, fetched as they are asked for. */
export async function* pagesOf<T>(
  transport: Transport,
  path: string,
  filters: Record<string, string | number | boolean | null | undefined>,
): AsyncGenerator<T> {
  let cursor: string | null | undefined;
  do {
    const page: Page<T> = await transport.ask("GET", path, { query: { ...filters, cursor } });
    yield* page.items;
    cursor = page.next;
  } while (cursor);
}
