import type { TestEvent } from "node:test/reporters";

/** Files that take less time than this, in milliseconds, are not worth a word about it. */
const SLOW_MS = 5000;

/** So many characters of a failure are told again. */
const MOST_TOLD = 4000;

/**
 * Test reporter: a line a test that fails or is skipped, the rest counted, the slowest files next; what failed is told at
 * the end once more, where a log that is cut still has it. Ends with "N passed, N failed".
 */
export default async function* reporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  const failures: string[] = [];
  const files = new Map<string, number>();
  const times = new Map<string, number>();
  for await (const event of source) {
    if (event.type === "test:stdout" || event.type === "test:stderr") {
      if (process.env["TEST_OUTPUT"]) yield event.data.message;
      continue;
    }
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const { data } = event;
    // A file and a suite are not tests themselves, but one that fails by itself must be seen.
    const container = data.details.type === "suite" || (data.nesting === 0 && /\.test\.ts$/.test(data.name));
    const file = (data.file ?? "").replace(`${process.cwd()}/`, "");
    if (data.nesting === 0) times.set(file, (times.get(file) ?? 0) + data.details.duration_ms);
    if (event.type === "test:fail") {
      const { error } = event.data.details;
      if (container && /subtests? failed/.test(error.message)) continue;
      failed++;
      const told = `✗ ${file}: ${data.name}\n${indent(errorOf(error))}\n`;
      failures.push(told.slice(0, MOST_TOLD));
      yield told;
    } else if (container) {
    } else if (data.skip !== undefined) {
      skipped++;
      yield `- ${data.name}: ${data.skip}\n`;
    } else {
      passed++;
      files.set(file, (files.get(file) ?? 0) + 1);
    }
  }
  for (const [file, count] of [...files].sort()) yield `✓ ${file} (${count})\n`;
  const slow = [...times].filter(([, ms]) => ms >= SLOW_MS).sort(([, x], [, y]) => y - x);
  if (slow.length > 0) yield `slowest: ${slow.map(([file, ms]) => `${file} ${(ms / 1000).toFixed(0)} s`).join(", ")}\n`;
  yield* failures;
  yield `\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`;
}

/** An error with what it comes from: of a property that is the sample first, then what was wrong with it. */
function errorOf(error: unknown): string {
  const { cause } = (error ?? {}) as { cause?: unknown };
  // The runner puts what a test threw into an error of its own.
  return chain(cause ?? error).join("\ncaused by ");
}

function chain(error: unknown): string[] {
  if (!(error instanceof Error)) return [String(error)];
  const told = error.stack ?? error.message;
  return error.cause === undefined ? [told] : [told, ...chain(error.cause)];
}

function indent(text: string): string {
  return text.replace(/^/gm, "    ");
}
