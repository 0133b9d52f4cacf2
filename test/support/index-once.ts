import { type IndexOptions, type IndexReport, indexChannel } from "../../src/main.ts";

/** What the last run of `index` in this test file warned of. */
export const warnings: string[] = [];

/** Indexes a channel in this process, and notes what it warns of. */
export function index(channel: string, options: Partial<IndexOptions> = {}): Promise<IndexReport> {
  warnings.length = 0;
  const onEvent: IndexOptions["onEvent"] = (e) => e.type === "warning" && warnings.push(e.message);
  return indexChannel({ channel, env: {}, onEvent, threads: 1, ...options });
}
