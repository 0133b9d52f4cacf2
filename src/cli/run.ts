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
    if (!(e instanceof CommanderError)) return tell(e, args);
    if (e.exitCode === 0) return 0;
    if (args.includes("--json")) await tellUsage(e);
    return 2;
  }
}

/** The one JSON document where the command line could not be understood. */
async function tellUsage({ code, message }: CommanderError): Promise<void> {
  const { UsageError } = await import("../errors.ts");
  const { errorJson } = await import("./render.ts");
  const error = new UsageError("BAD_FLAG", {
    what: code === "commander.help" ? "no command" : message.replace(/^error: /, ""),
    why: "the command line could not be understood",
    next: "see meso-forge-mirror --help, or meso-forge-mirror COMMAND --help",
  });
  process.stdout.write(`${JSON.stringify({ error: errorJson(error), exitCode: error.exitCode })}\n`);
}

/** Tells what ended the run, as three parts or as the one JSON document. */
async function tell(thrown: unknown, args: readonly string[]): Promise<number> {
  const { asMirrorError, framesOf } = await import("../errors.ts");
  const { errorText, errorJson } = await import("./render.ts");
  const error: MirrorError = asMirrorError(thrown, "meso-forge-mirror failed");
  if (args.includes("--json")) {
    process.stdout.write(`${JSON.stringify({ error: errorJson(error), exitCode: error.exitCode })}\n`);
  }
  const verbose = args.some((a) => a === "-v" || a === "--verbose");
  if (wantsJsonLog(args)) {
    const { makeLogger } = await import("./log.ts");
    const { code, why, next } = error;
    const log = makeLogger({ level: "error", format: "json", color: false }, process.stderr);
    log.error({ code, why, next, ...(verbose ? { stack: framesOf(error) } : {}) }, error.what);
  } else process.stderr.write(`${errorText(error, { verbose })}\n`);
  return error.exitCode;
}

function wantsJsonLog(args: readonly string[]): boolean {
  return args.some((a, i) => a === "--log-format=json" || (a === "json" && args[i - 1] === "--log-format"));
}
