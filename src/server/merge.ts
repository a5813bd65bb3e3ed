/** Several streams as one, each value with the number of its source, in the order in which they come. */

export async function* mergeInOrderOfArrival<T>(
  sources: readonly AsyncIterator<T>[],
): AsyncGenerator<{ readonly source: number; readonly value: T }> {
  const ask = async (source: number): Promise<{ source: number; result: IteratorResult<T> }> => ({
    source,
    result: await (sources[source] as AsyncIterator<T>).next(),
  });
  const pending = new Map(sources.map((_, source) => [source, ask(source)]));
  while (pending.size > 0) {
    const { source, result } = await Promise.race(pending.values());
    if (result.done === true) pending.delete(source);
    else {
      pending.set(source, ask(source));
      yield { source, value: result.value };
    }
  }
}
