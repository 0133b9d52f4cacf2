/** A limit on bytes a second that several threads share. Plain data: it crosses threads as it is. */
export interface PaceSettings {
  readonly bytesPerSecond: number;
  /** One number: the moment, in nanoseconds of the machine's own clock, at which everything taken so far is paid for. */
  readonly ledger: SharedArrayBuffer;
}

export interface Pace {
  /** Notes bytes that have come, and gives the milliseconds to wait before more are taken. */
  took(bytes: number): number;
}

/** What was not used is kept for so long, so that a pause between two packages is not lost. */
const KEPT_NS = 250_000_000n;

export function paceSettings(bytesPerSecond: number): PaceSettings {
  return { bytesPerSecond, ledger: new SharedArrayBuffer(8) };
}

/**
 * A token bucket that every thread with the same ledger draws from. Bytes are paid for after they came: who took them
 * waits until the moment up to which they pay.
 * @param now nanoseconds; the same clock in every thread.
 */
export function openPace({ bytesPerSecond, ledger }: PaceSettings, now = process.hrtime.bigint): Pace {
  const paid = new BigInt64Array(ledger);
  return {
    took(bytes) {
      const cost = BigInt(Math.ceil((bytes * 1e9) / bytesPerSecond));
      for (;;) {
        const at = now();
        const before = Atomics.load(paid, 0);
        const from = before > at - KEPT_NS ? before : at - KEPT_NS;
        const after = from + cost;
        if (Atomics.compareExchange(paid, 0, before, after) !== before) continue;
        return after > at ? Number((after - at) / 1000n) / 1000 : 0;
      }
    },
  };
}
