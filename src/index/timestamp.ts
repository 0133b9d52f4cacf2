/** The last second of the year 9999. What is larger counts milliseconds: both units stand in real indexes (RT, CI). */
const LAST_SECOND = 253_402_300_799;

/** A record's `timestamp` in whole seconds; 0 when there is none, as conda-index has it. */
export function seconds(timestamp: unknown): number {
  if (typeof timestamp !== "number" || !Number.isFinite(timestamp) || timestamp < 0) return 0;
  return Math.floor(timestamp > LAST_SECOND ? timestamp / 1000 : timestamp);
}
