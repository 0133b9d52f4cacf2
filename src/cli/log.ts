import { createRequire } from "node:module";
import { styleText } from "node:util";
import type { Logger, pino as Pino } from "pino";
import type { CommonFlags } from "./common-flags.ts";

/** What log lines are written past: whatever is drawn on the terminal steps aside while `write` runs. */
export interface Screen {
  write(text: string): void;
}

const LEVELS = ["trace", "debug", "info", "warn", "error", "silent"];

/** The level in force: flags, then MESO_FORGE_LOG, then RUST_LOG, then info. */
export function logLevel(flags: Pick<CommonFlags, "logLevel" | "quiet" | "verbose">, env: NodeJS.ProcessEnv): string {
  if (flags.logLevel) return flags.logLevel;
  if (flags.quiet) return "error";
  if (flags.verbose) return "debug";
  return named(env["MESO_FORGE_LOG"]) ?? named(env["RUST_LOG"]) ?? "info";
}

/** A level as Rust's loggers write it: `debug`, or `module=debug,info`, of which ours or the general one counts. */
function named(text: string | undefined): string | undefined {
  const rules = (text ?? "")
    .toLowerCase()
    .split(",")
    .map((rule) => rule.trim().split("="));
  const ours = rules.find((r) => r.length === 2 && /^meso.forge.mirror$/.test(r[0] as string))?.[1];
  const general = rules.find((r) => r.length === 1)?.[0];
  const level = (ours ?? general ?? "").replace(/^warning$/, "warn").replace(/^off$/, "silent");
  return LEVELS.includes(level) ? level : undefined;
}

/** Whether stderr gets colours: --no-color and NO_COLOR say no, FORCE_COLOR says yes, else a terminal does. */
export function useColor(flags: Pick<CommonFlags, "color">, env: NodeJS.ProcessEnv, isTerminal: boolean): boolean {
  if (flags.color === false || env["NO_COLOR"]) return false;
  return env["FORCE_COLOR"] ? true : isTerminal;
}

/** Logs to stderr: one JSON object a line, or lines for people. */
export function makeLogger(
  options: { level: string; format: "pretty" | "json"; color: boolean },
  screen: Screen,
): Logger {
  const write =
    options.format === "json"
      ? (line: string) => screen.write(line)
      : (line: string) => screen.write(pretty(line, options.color));
  let real: Logger | undefined;
  const load = (): Logger => {
    const { pino } = createRequire(import.meta.url)("pino") as { pino: typeof Pino };
    return pino(
      {
        level: options.level,
        base: null,
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      { write },
    );
  };
  // Most runs say nothing, and loading pino takes as long as loading all of our own code.
  return new Proxy({} as Logger, {
    get(_, key) {
      if (LEVELS.includes(String(key)) && LEVELS.indexOf(String(key)) < LEVELS.indexOf(options.level)) return silent;
      real ??= load();
      const value: unknown = Reflect.get(real, key);
      return typeof value === "function" ? value.bind(real) : value;
    },
  });
}

const silent = (): void => undefined;

const STYLES: Readonly<Record<string, Parameters<typeof styleText>[0]>> = {
  error: ["red", "bold"],
  warn: "yellow",
  info: "green",
  debug: "cyan",
  trace: "gray",
};

function pretty(line: string, color: boolean): string {
  const { level, msg, why, next, stack } = JSON.parse(line) as Record<string, string>;
  const head = color
    ? styleText(STYLES[level as string] ?? "reset", `${level}:`, { validateStream: false })
    : `${level}:`;
  return `${[`${head} ${msg}`, ...[why, next].filter((t) => t !== undefined).map((t) => `  ${t}`), ...(stack ? [stack] : [])].join("\n")}\n`;
}
