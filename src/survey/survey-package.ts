import { parseFileName } from "../conda/file-name.ts";
import { normaliseRunExports } from "../conda/run-exports.ts";
import { PackageError } from "../errors.ts";
import { FileReader, type PackageFile, type WholePackage } from "../package/file-reader.ts";
import { type InfoMember, RECIPE_BEYOND_INFO } from "../package/read.ts";
import { makeRecord } from "../package/record.ts";

/** Everything that an index says about one package of a folder. */
export interface SurveyedPackage {
  readonly sha256: string;
  /** Compact JSON. */
  readonly record: Uint8Array;
  readonly v3: boolean;
  /** Compact JSON; `{}` for none. */
  readonly runExports: Uint8Array;
  /** What it contributes to channeldata.json, as JSON; "" when that was not asked for. */
  readonly facts: string;
  readonly warnings: readonly string[];
}

export interface SurveyOptions {
  /** Whether to gather what channeldata.json is made of: about, paths, and recipes, which tell where sources came from. */
  readonly facts: boolean;
}

const RECORD: readonly InfoMember[] = ["info/index.json", "info/run_exports.json"];
const FACTS: readonly InfoMember[] = ["info/about.json", "info/paths.json"];
const RECIPES: readonly InfoMember[] = ["info/recipe/meta.yaml", "info/recipe/meta.yaml.rendered", "info/meta.yaml"];

/** Reads packages with the members that a survey needs. */
export function surveyReader<File extends PackageFile>(options: SurveyOptions): FileReader<File> {
  return options.facts ? new FileReader([...RECORD, ...FACTS, ...RECIPES], RECIPE_BEYOND_INFO) : new FileReader(RECORD);
}

/**
 * What one package of a channel's folder is: hashes, record, run exports, facts.
 * @param subdir the folder it lies in; a package that says otherwise is refused.
 * @throws PackageError
 */
export async function surveyPackage(
  { facts, info }: WholePackage,
  fileName: string,
  subdir: string,
  options: SurveyOptions,
): Promise<SurveyedPackage> {
  const member = (m: InfoMember) => info.members.get(m);
  const indexJson = member("info/index.json") as Uint8Array;
  const made = makeRecord(fileName, indexJson, parseFileName(fileName), facts, subdir);
  if (made.subdir !== subdir) {
    throw new PackageError("NAME_MISMATCH", {
      what: `${subdir}/${fileName}: lies in the wrong folder`,
      why: `its info/index.json says ${made.subdir}`,
      next: `move it to ${made.subdir}/ and index again`,
    });
  }
  const { runExports, problems } = normaliseRunExports(member("info/run_exports.json"));
  const warnings = [...info.warnings, ...made.warnings, ...problems];
  let contributed: object | undefined;
  if (options.facts) {
    // Loaded when needed: it brings a YAML reader along.
    const { packageFacts } = await import("../index/package-facts.ts");
    contributed = packageFacts(
      {
        indexJson,
        aboutJson: member("info/about.json"),
        pathsJson: member("info/paths.json"),
        runExports,
        recipe: RECIPES.map(member).find((m) => m !== undefined),
        subdir,
      },
      (why) => warnings.push(why),
    );
  }
  return {
    sha256: facts.sha256,
    record: made.record,
    v3: made.v3,
    runExports,
    facts: options.facts ? JSON.stringify(contributed ?? null) : "",
    warnings,
  };
}
