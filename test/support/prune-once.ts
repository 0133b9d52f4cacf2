import { prune } from "../../src/main.ts";

/**
 * Prunes once, by options given as JSON. For tests that break or kill a run from outside.
 *
 *     prune-once.ts OPTIONS
 */
const { now, ...options } = JSON.parse(process.argv[2] as string);
await prune({ env: {}, ...options, ...(now === undefined ? {} : { now: () => now }) });
