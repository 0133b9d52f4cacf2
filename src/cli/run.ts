import { CommanderError } from "commander";
import type { MirrorError } from "../errors.ts";
import { program } from "./program.ts";

/** Runs a command line (without node and script) and gives its exit code; see docs/operator-guide/commands.md. */
export async function run(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const command = program((code) => {
    exitCode = code;
  });
  try {
    await command.parseAsync(args as string[], { from: "user" });
    return exitCode;
  } catch (e) {
    // Help and version end in an "error" with code 0; wrong usage has been told already.
    if (e instanceof CommanderError) return e.exitCode === 0 ? 0 : 2;
    return tell(e, args);
  }
}

/** Tells what ended the run, as three parts or as the one JSON document. */
async function tell(thrown: unknown, args: readonly string[]): Promise<number> {
  const { asMirrorError } = await import("../errors.ts");
  const { errorText, errorJson } = await import("./render.ts");
  const error: MirrorError = asMirrorError(thrown, "meso-forge-mirror failed");
  if (args.includes("--json")) {
    process.stdout.write(`${JSON.stringify({ error: errorJson(error), exitCode: error.exitCode })}\n`);
  }
  const verbose = args.some((a) => a === "-v" || a === "--verbose");
  process.stderr.write(`${errorText(error, { verbose })}\n`);
  return error.exitCode;
}
