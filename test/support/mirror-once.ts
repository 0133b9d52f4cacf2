import { type MirrorOptions, mirror } from "../../src/main.ts";

/** Runs `mirror` once with the options given as JSON, and ends with its exit code: mirror-once.ts OPTIONS */
const options = JSON.parse(process.argv[2] as string) as MirrorOptions;
try {
  const report = await mirror({
    env: {},
    ...options,
    onEvent: (e) => e.type === "warning" && console.error(e.message),
  });
  for (const p of report.packages) if (p.outcome === "failed") console.error(p.error.message);
  process.exitCode = report.exitCode;
} catch (e) {
  console.error((e as Error).message);
  process.exitCode = (e as { exitCode?: number }).exitCode ?? 70;
}
