import { spawnSync } from "node:child_process";
import { existsSync, globSync, mkdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { bringGoProgram, programsNeeded } from "./go-programs.ts";

/**
 * `npm test`: brings the real clients to where the tests find them, then runs every test, or those whose path holds one
 * of the words given.
 */
const root = new URL("..", import.meta.url).pathname;
const python = join(root, ".cache/venv", process.platform === "win32" ? "Scripts/python.exe" : "bin/python");
const RATTLER = "py-rattler==0.28.0";

function bring(): void {
  if (existsSync(python) && spawnSync(python, ["-c", "import rattler"]).status === 0) return;
  mkdirSync(join(root, ".cache"), { recursive: true });
  const steps: [string, string[]][] = [
    ["python3", ["-m", "venv", join(root, ".cache/venv")]],
    [python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", RATTLER]],
  ];
  for (const [command, args] of steps) {
    if (spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"] }).status === 0) continue;
    const message = `${RATTLER} could not be installed: tests with the real client have nothing to run with`;
    if (process.env["CI"] === "true") {
      process.stderr.write(`error: ${message}\n`);
      process.exit(1);
    }
    process.stderr.write(`notice: ${message}\n`);
    return;
  }
}

function bringPrograms(files: readonly string[]): void {
  for (const name of programsNeeded(files)) {
    try {
      bringGoProgram(name);
    } catch (e) {
      if (process.env["CI"] === "true") throw e;
      process.stderr.write(`notice: ${(e as Error).message}: tests with it have nothing to run with\n`);
    }
  }
}

bring();
/** What TypeScript becomes: a hundred processes and more start, and each would compile it anew. */
const compiled = join(root, ".cache/compiled");
const words = process.argv.slice(2);
const files = globSync(["src/**/*.test.ts", "test/**/*.test.ts"], { cwd: root }).sort();
const chosen = words.length === 0 ? files : files.filter((f) => words.some((w) => f.includes(w)));
bringPrograms(chosen.map((f) => join(root, f)));
const run = spawnSync(
  process.execPath,
  [
    "--test",
    "--test-reporter",
    join(root, "scripts/reporter.ts"),
    // All files draw their samples from one seed.
    "--import",
    new URL("../test/support/draws.ts", import.meta.url).href,
    "--test-timeout=240000",
    // Each file is a process. Node leaves one processor free, which is half of a small machine.
    `--test-concurrency=${availableParallelism()}`,
    ...chosen,
  ],
  { cwd: root, stdio: "inherit", env: { NODE_COMPILE_CACHE: compiled, ...process.env, NODE_NO_WARNINGS: "1" } },
);
process.exit(run.status ?? 1);
