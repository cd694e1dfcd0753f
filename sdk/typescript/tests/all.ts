/** All that an iteration gives, in an array: what `Array.fromAsync` does where there is one. */
export async function all<T>(items: AsyncIterable<T> | ReadableStream<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items as AsyncIterable<T>) list.push(item);
  return list;
}
