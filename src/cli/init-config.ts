import { writeFile } from "node:fs/promises";
import { extname } from "node:path";
import { SCHEMA_URL, settingsSchema } from "../config/settings.ts";
import { UsageError } from "../errors.ts";
import { systemCause } from "../system-errors.ts";
import type { InitFlags } from "./program.ts";

/** `init-config`: writes every setting with its default. Secrets stay null: they belong into the environment. */
export async function initConfig(flags: InitFlags): Promise<number> {
  const { output } = flags;
  const values = { $schema: SCHEMA_URL, ...settingsSchema.parse({}) };
  const text = await render(values, extname(output).toLowerCase());
  if (text === undefined) {
    throw new UsageError("BAD_FLAG", {
      what: `--output ${output}`,
      why: "its name ends in none of .json, .yaml, .yml and .toml",
      next: "choose one of these",
    });
  }
  try {
    await writeFile(output, text, { flag: flags.force ? "w" : "wx" });
  } catch (e) {
    const exists = (e as NodeJS.ErrnoException).code === "EEXIST";
    throw new UsageError("BAD_FLAG", {
      what: `${output}: not written`,
      why: exists ? "a file of that name is there" : (systemCause(e)?.why ?? (e as Error).message),
      next: exists ? "choose another --output, or --force to write over it" : "choose another --output",
      cause: e,
    });
  }
  if (flags.json) process.stdout.write(`${JSON.stringify({ written: output })}\n`);
  else if (!flags.quiet) process.stdout.write(`wrote ${output}\n`);
  return 0;
}

async function render(values: Record<string, unknown>, extension: string): Promise<string | undefined> {
  if (extension === ".json") return `${JSON.stringify(values, null, 2)}\n`;
  if (extension === ".yaml" || extension === ".yml") return (await import("yaml")).stringify(values);
  if (extension !== ".toml") return undefined;
  // TOML has no null: settings without a value stand there as comments.
  const set = Object.fromEntries(Object.entries(values).filter(([, v]) => v !== null));
  const unset = Object.keys(values).filter((k) => values[k] === null);
  return `${(await import("smol-toml")).stringify(set)}\n${unset.map((k) => `# ${k} = ""\n`).join("")}`;
}
