import { parseFileName } from "../conda/file-name.ts";
import { PackageError } from "../errors.ts";
import { packageFacts } from "../index/channeldata.ts";
import { normaliseRunExports } from "../index/run-exports.ts";
import { type InfoMember, RECIPE_BEYOND_INFO } from "../package/read.ts";
import { readWhole } from "../package/read-file.ts";
import { makeRecord } from "../package/record.ts";

/** Everything that an index says about one package of a folder. */
export interface SurveyedPackage {
  readonly sha256: string;
  /** Compact JSON. */
  readonly record: Uint8Array;
  readonly v3: boolean;
  /** Compact JSON; `{}` for none. */
  readonly runExports: Uint8Array;
  /** What it contributes to channeldata.json, as JSON. */
  readonly facts: string;
  readonly warnings: readonly string[];
}

/** What is read of a package. Recipes only tell channeldata where sources came from. */
export interface SurveyOptions {
  readonly recipes: boolean;
}

const WANTED: readonly InfoMember[] = [
  "info/index.json",
  "info/about.json",
  "info/run_exports.json",
  "info/paths.json",
];
const RECIPES: readonly InfoMember[] = ["info/recipe/meta.yaml", "info/recipe/meta.yaml.rendered", "info/meta.yaml"];

/**
 * Reads one package of a channel's folder: hashes, record, run exports, facts.
 * @param subdir the folder it lies in; a package that says otherwise is refused.
 * @throws PackageError
 */
export async function surveyPackage(
  path: string,
  fileName: string,
  subdir: string,
  options: SurveyOptions,
): Promise<SurveyedPackage> {
  const name = parseFileName(fileName);
  const wanted = options.recipes ? [...WANTED, ...RECIPES] : WANTED;
  const { facts, info } = await readWhole(path, fileName, wanted, options.recipes ? RECIPE_BEYOND_INFO : {});
  const member = (m: InfoMember) => info.members.get(m);
  const indexJson = member("info/index.json") as Uint8Array;
  const made = makeRecord(fileName, indexJson, name, facts, subdir);
  if (made.subdir !== subdir) {
    throw new PackageError("NAME_MISMATCH", {
      what: `${subdir}/${fileName}: lies in the wrong folder`,
      why: `its info/index.json says ${made.subdir}`,
      next: `move it to ${made.subdir}/ and index again`,
    });
  }
  const { runExports, problems } = normaliseRunExports(member("info/run_exports.json"));
  const contributed = packageFacts({
    indexJson,
    aboutJson: member("info/about.json"),
    pathsJson: member("info/paths.json"),
    runExports,
    recipe: RECIPES.map(member).find((m) => m !== undefined),
  });
  return {
    sha256: facts.sha256,
    record: made.record,
    v3: made.v3,
    runExports,
    facts: JSON.stringify(contributed),
    warnings: [...info.warnings, ...made.warnings, ...problems],
  };
}
