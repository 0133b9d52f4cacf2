import { verify } from "../../src/main.ts";

/**
 * Verifies once, by options given as JSON. For tests that break or kill a run from outside.
 *
 *     verify-once.ts OPTIONS
 */
process.exitCode = (await verify({ env: {}, threads: 1, ...JSON.parse(process.argv[2] as string) })).exitCode;
