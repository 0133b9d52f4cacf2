import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { UsageError } from "../errors.ts";
import { DEFAULTS, plainlyRight } from "./defaults.ts";
import type { PartialSettings, Settings } from "./settings.ts";

export interface LoadOptions {
  /** A configuration file: .json, .yaml, .yml or .toml. */
  readonly file?: string | undefined;
  readonly env?: NodeJS.ProcessEnv;
  /** What flags say; the strongest. */
  readonly flags?: PartialSettings;
}

/**
 * The settings in force: flag before environment before file before default.
 * @throws UsageError BAD_CONFIG naming the key, with the nearest known name where it is unknown.
 */
export async function loadSettings(options: LoadOptions = {}): Promise<Settings> {
  const layers: { from: string; values: Record<string, unknown> }[] = [];
  if (options.file !== undefined) layers.push({ from: options.file, values: await readConfigFile(options.file) });
  layers.push({ from: "the environment", values: settingsFromEnv(options.env ?? process.env) });
  layers.push({ from: "the command line", values: withoutUndefined(options.flags ?? {}) });
  if (layers.every((l) => plainlyRight(l.values))) return Object.assign({}, DEFAULTS, ...layers.map((l) => l.values));
  // Each layer is checked by itself, so that an error names where the value stands.
  for (const layer of layers) await check(layer.values, layer.from);
  return check(Object.assign({}, ...layers.map((l) => l.values)) as Record<string, unknown>, "the configuration");
}

async function check(values: Record<string, unknown>, from: string): Promise<Settings> {
  const { settingsSchema } = await import("./settings.ts");
  const result = settingsSchema.safeParse(values);
  if (result.success) return result.data;
  const { issues } = result.error;
  // A key that is spelled wrong is missed under its right name too.
  const issue = (issues.find((i) => i.code === "unrecognized_keys") ?? issues[0]) as (typeof issues)[number];
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0] as string;
    const path = [...issue.path, key].join(".");
    const { jobSchema } = await import("./jobs.ts");
    const known = issue.path[0] === "jobs" ? jobSchema.shape : settingsSchema.shape;
    const near = nearest(key, Object.keys(known));
    throw new UsageError("BAD_CONFIG", {
      what: `${from}: unknown key ${path}`,
      why: near ? `did you mean ${near}?` : "no setting has a name like it",
      next: "see docs/operator-guide/configuration.md for the settings; keys that begin with _ are comments",
    });
  }
  const path = issue.path.join(".");
  throw new UsageError("BAD_CONFIG", {
    what: `${from}: ${path} can't be used`,
    why: isMissing(values, issue.path) ? "it is missing" : issue.message,
    next: `correct ${path}; meso-forge-mirror init-config writes a file that is right`,
  });
}

/** Whether nothing stands at a path whose table is there. */
function isMissing(values: unknown, path: readonly PropertyKey[]): boolean {
  let value = values;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | null | undefined)?.[key];
  return value === undefined;
}

/** A configuration file's content, by its extension. Comments (keys that begin with _) and $schema are left out. */
async function readConfigFile(file: string): Promise<Record<string, unknown>> {
  const bad = (why: string, cause?: unknown) =>
    new UsageError("BAD_CONFIG", {
      what: `${file}: can't be used as configuration`,
      why,
      next: "correct it, or write a new one with meso-forge-mirror init-config",
      cause,
    });
  const text = await readFile(file, "utf8").catch((e: Error) => {
    throw bad(e.message, e);
  });
  let value: unknown;
  try {
    switch (extname(file).toLowerCase()) {
      case ".json":
        value = JSON.parse(text);
        break;
      case ".yaml":
      case ".yml":
        value = (await import("yaml")).parse(text, { maxAliasCount: 100 });
        break;
      case ".toml":
        value = (await import("smol-toml")).parse(text);
        break;
      default:
        throw bad("its name ends in none of .json, .yaml, .yml and .toml");
    }
  } catch (e) {
    throw e instanceof UsageError ? e : bad((e as Error).message.split("\n")[0] as string, e);
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) throw bad("it holds no table of settings");
  const settings = withoutComments(value);
  delete settings["$schema"];
  const { jobs } = settings;
  if (Array.isArray(jobs)) settings["jobs"] = jobs.map((job) => (isTable(job) ? withoutComments(job) : job));
  return settings;
}

function isTable(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function withoutComments(table: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(table).filter(([key]) => !key.startsWith("_")));
}

const ENV_NAMES: readonly (readonly [keyof Settings, readonly string[]])[] = [
  ["github_token", ["GITHUB_TOKEN"]],
  ["azure_devops_token", ["AZURE_DEVOPS_TOKEN"]],
  ["github_api_url", ["GITHUB_API_URL"]],
  ["azure_devops_url", ["AZURE_DEVOPS_URL"]],
  ["channel_alias", ["CONDA_CHANNEL_ALIAS"]],
  // Rattler's names, then AWS's.
  ["s3_region", ["S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"]],
  ["s3_endpoint", ["S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]],
  ["s3_addressing_style", ["S3_ADDRESSING_STYLE"]],
];

/** Settings of the environment: the services' own names, and MESO_FORGE_<SETTING> for every setting, which is stronger. */
export function settingsFromEnv(env: NodeJS.ProcessEnv): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [key, names] of ENV_NAMES) {
    const set = names.map((n) => env[n]).find((v) => v !== undefined && v !== "");
    if (set !== undefined) values[key] = set;
  }
  for (const key of Object.keys(DEFAULTS) as (keyof Settings)[]) {
    const text = env[`MESO_FORGE_${key.toUpperCase()}`];
    // Jobs are no text.
    if (text === undefined || text === "" || key === "jobs") continue;
    const number = Number(text);
    if (typeof DEFAULTS[key] === "boolean" && /^(?:true|false)$/i.test(text)) values[key] = /^true$/i.test(text);
    else values[key] = isNumber(key) && !Number.isNaN(number) ? number : text;
  }
  return values;
}

/** Whether a setting is a number, where it is set: a level of compression has no default. */
function isNumber(key: keyof Settings): boolean {
  return typeof DEFAULTS[key] === "number" || key === "zstd_level";
}

function withoutUndefined(values: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined));
}

/** The known name within a few letters of `name`, or undefined. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const k of known) {
    const d = distance(name.toLowerCase().replace(/-/g, "_"), k);
    if (d < bestDistance) [best, bestDistance] = [k, d];
  }
  return best;
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(
        Math.min(
          (row[j] as number) + 1,
          (next[j - 1] as number) + 1,
          (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1),
        ),
      );
    }
    row = next;
  }
  return row[b.length] as number;
}
