/**
 * Runs `work` on the items, at most `limit` at once, and yields each result as it comes. An error of `work` ends the
 * pool: work that may fail returns its failure as a value. When the consumer stops, or the signal aborts, no further
 * item is begun; what is under way is awaited.
 */
export async function* pool<T, R>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<R>,
  signal: AbortSignal,
): AsyncGenerator<R> {
  const iterator = items[Symbol.iterator]();
  const running = new Set<Promise<void>>();
  const finished: R[] = [];
  let failed: { error: unknown } | undefined;
  let wake: () => void = () => undefined;
  let exhausted = false;
  const begin = (): boolean => {
    const next = failed || signal.aborted ? undefined : iterator.next();
    if (!next || next.done) {
      exhausted = true;
      return false;
    }
    const one: Promise<void> = work(next.value)
      .then(
        (result) => {
          finished.push(result);
        },
        (error: unknown) => {
          failed ??= { error };
        },
      )
      .then(() => {
        running.delete(one);
        // The next one begins at once, however slow the consumer of the results is.
        if (!exhausted) begin();
        wake();
      });
    running.add(one);
    return true;
  };
  try {
    while (running.size < limit && begin());
    for (;;) {
      while (finished.length > 0) yield finished.shift() as R;
      if (failed) throw failed.error;
      if (running.size === 0 && finished.length === 0) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (finished.length > 0) resolve();
      });
    }
  } finally {
    failed ??= { error: undefined };
    await Promise.all(running);
  }
}
