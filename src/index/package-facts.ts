import { type PathFact, pathFacts } from "./path-facts.ts";
import { recipeSource } from "./recipe-source.ts";
import { seconds } from "./timestamp.ts";

/** The text fields of channeldata.json (CEP 38), but for `version`, which every package has. */
export const TEXT_FIELDS = [
  "description",
  "dev_url",
  "doc_source_url",
  "doc_url",
  "home",
  "icon_hash",
  "icon_url",
  "identifiers",
  "keywords",
  "license",
  "recipe_origin",
  "source_git_url",
  "source_url",
  "summary",
  "tags",
] as const;

export type TextField = (typeof TEXT_FIELDS)[number];

/** What one package contributes to channeldata.json. Plain JSON, some hundred bytes: made to be kept beside an index. */
export interface PackageFacts {
  readonly name: string;
  readonly version: string;
  readonly build: string;
  readonly buildNumber: number;
  readonly subdir: string;
  /** Seconds; 0 when the package has none. */
  readonly timestamp: number;
  readonly text: { readonly [field in TextField]?: string | readonly string[] };
  /** What its files do at installation; what is not listed is false. */
  readonly does: readonly PathFact[];
  /** Left out when the package exports nothing. */
  readonly runExports?: Readonly<Record<string, unknown>>;
}

/** Members of a package as they are; each may be missing but the first. */
export interface FactSources {
  /** `info/index.json`, or the package's record. */
  readonly indexJson: Uint8Array;
  readonly aboutJson?: Uint8Array | undefined;
  readonly pathsJson?: Uint8Array | undefined;
  /** From `normaliseRunExports`. */
  readonly runExports?: Uint8Array | undefined;
  /** The first of `info/recipe/meta.yaml`, `info/recipe/meta.yaml.rendered` and `info/meta.yaml` that exists. */
  readonly recipe?: Uint8Array | undefined;
  /** The folder the package is indexed in; wins over what index.json says. */
  readonly subdir?: string | undefined;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads what a package contributes to channeldata.json. index.json wins over about.json, as with conda-index.
 * Members that can't be read count as missing, with a warning in words for the package's owner.
 * @returns undefined, after a warning, where index.json has no name, version or subdir.
 */
export function packageFacts(sources: FactSources, warn: (why: string) => void = () => {}): PackageFacts | undefined {
  const index = objectOf(sources.indexJson, "info/index.json", warn);
  const { name, version, build, build_number: buildNumber } = index;
  const subdir = sources.subdir ?? index["subdir"];
  if (!isText(name) || !isText(version) || !isText(subdir)) {
    warn("its info/index.json has no name, version or subdir");
    return undefined;
  }
  const about = sources.aboutJson ? objectOf(sources.aboutJson, "info/about.json", warn) : {};
  const source = sources.recipe ? recipeSource(sources.recipe) : {};
  const runExports = sources.runExports ? objectOf(sources.runExports, "info/run_exports.json", warn) : {};
  return {
    name,
    version,
    build: isText(build) ? build : "",
    buildNumber: typeof buildNumber === "number" ? buildNumber : 0,
    subdir,
    timestamp: seconds(index["timestamp"]),
    text: textOf({ ...source, ...about, ...index }),
    does: sources.pathsJson ? whatFilesDo(sources.pathsJson, warn) : [],
    ...(Object.keys(runExports).length > 0 ? { runExports } : {}),
  };
}

function whatFilesDo(pathsJson: Uint8Array, warn: (why: string) => void): PathFact[] {
  try {
    return [...pathFacts(pathsJson)].sort();
  } catch (e) {
    warn(`its info/paths.json can't be read: ${(e as Error).message}`);
    return [];
  }
}

function textOf(fields: Record<string, unknown>): PackageFacts["text"] {
  const text: { [field in TextField]?: string | readonly string[] } = {};
  for (const field of TEXT_FIELDS) {
    const value = fields[field];
    if (field === "description" || field === "summary") {
      // Some recipes make lists of them; the first is the text, as with conda-index.
      const first: unknown = Array.isArray(value) ? value[0] : value;
      const line = isText(first) ? first.trim().replaceAll("\n", " ") : "";
      if (line !== "") text[field] = line;
    } else if (isText(value)) text[field] = value;
    else if (Array.isArray(value) && value.length > 0 && value.every((v) => typeof v === "string")) text[field] = value;
  }
  return text;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function objectOf(json: Uint8Array, member: string, warn: (why: string) => void): Record<string, unknown> {
  try {
    const value = JSON.parse(utf8.decode(json)) as unknown;
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    warn(`its ${member} is no object`);
  } catch (e) {
    warn(`its ${member} can't be read: ${(e as Error).message}`);
  }
  return {};
}
