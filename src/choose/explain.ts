import { asText } from "../conda/as-text.ts";
import { parseFileName } from "../conda/file-name.ts";
import { type MatchSpec, parseMatchSpec, type RecordFields, type Whereabouts } from "../conda/match-spec.ts";
import { loadVersions } from "../conda/version.ts";
import { UsageError } from "../errors.ts";
import { entryOf, placesByName, recordAt } from "../index/record-names.ts";
import { type Repodata, SPAN } from "../index/repodata.ts";
import { fieldsAt, wanting } from "./fields.ts";
import { newestVersions } from "./newest.ts";
import { type Rules, reasonsAgainst, reasonsFor } from "./rules.ts";

/** Why a package is taken or left out. */
export interface Explanation {
  readonly subdir: string;
  readonly fileName: string;
  readonly taken: boolean;
  readonly why: readonly string[];
}

/** The packages that are asked about: a file's name, or a MatchSpec. */
export type Asked = (fileName: string, fields: RecordFields, where: Whereabouts) => boolean;

/** @throws UsageError BAD_FLAG */
export async function readAsked(text: string): Promise<Asked & { readonly matchesName: (name: string) => boolean }> {
  if (/\.(?:conda|tar\.bz2)$/.test(text)) {
    const { name } = parseFileName(text);
    return Object.assign((fileName: string) => fileName === text, {
      matchesName: (n: string) => n === name.toLowerCase(),
    });
  }
  let spec: MatchSpec;
  try {
    spec = parseMatchSpec(text, await loadVersions());
  } catch (e) {
    throw new UsageError("BAD_FLAG", {
      what: `--explain ${text}`,
      why: (e as Error).message,
      next: "name a package's file, its name, or a spec such as 'python >=3.12'",
      cause: e,
    });
  }
  const asked: Asked = (_, fields, where) => spec.matches(fields, where);
  return Object.assign(asked, { matchesName: (name: string) => spec.matchesName(name) });
}

/** One package that rules are asked about. */
export interface Candidate {
  readonly subdir: string;
  readonly fileName: string;
  readonly fields: RecordFields;
}

/** Explains candidates. Give all of a name that are in the same subdir: `latest` compares them. */
export function explain(
  candidates: readonly Candidate[],
  asked: Asked,
  where: Whereabouts,
  rules: Rules | undefined,
): Explanation[] {
  const groups = new Map<string, Candidate[]>();
  for (const one of candidates) {
    const key = `${one.subdir} ${asText(one.fields["name"]).toLowerCase()}`;
    const group = groups.get(key);
    if (group) group.push(one);
    else groups.set(key, [one]);
  }
  return [...groups.values()].flatMap((group) => explainGroup(group, asked, where, rules));
}

function explainGroup(
  candidates: readonly Candidate[],
  asked: Asked,
  where: Whereabouts,
  rules: Rules | undefined,
): Explanation[] {
  const out: Explanation[] = [];
  const fitting = candidates.filter(
    ({ fields, fileName, subdir }) =>
      !rules || reasonsAgainst(fields, { ...where, fileName, subdir }, rules).length === 0,
  );
  const versions = fitting.map(({ fields }) => asText(fields["version"]));
  const newest = rules?.latest && newestVersions(versions, rules);
  for (const { subdir, fileName, fields } of candidates) {
    const at = { ...where, subdir, fileName };
    if (!asked(fileName, fields, at)) continue;
    if (!rules) {
      out.push({ subdir, fileName, taken: true, why: ["there are no rules: everything is taken"] });
      continue;
    }
    const against = reasonsAgainst(fields, at, rules);
    if (against.length === 0 && newest && !newest.has(asText(fields["version"])))
      against.push(tooOld(asText(fields["version"]), newest, rules));
    const why = against.length > 0 ? against : reasonsFor(fields, at, rules);
    out.push({ subdir, fileName, taken: against.length === 0, why });
  }
  return out;
}

function tooOld(version: string, newest: ReadonlySet<string>, { latest, versions }: Rules): string {
  const shown = [...newest].sort((a, b) => versions.compare(b, a)).slice(0, 5);
  const of = latest?.per === "minor" ? " of its major.minor" : "";
  return `${version} is not among the ${latest?.count} newest versions${of} (${shown.join(", ")})`;
}

/** Members of a record that specs ask for. */
const SPEC_FIELDS = [
  "name",
  "version",
  "build",
  "build_number",
  "subdir",
  "license",
  "license_family",
  "md5",
  "sha256",
  "track_features",
  "flags",
] as const;

const EVERYTHING = wanting([...SPEC_FIELDS, "depends", "size", "timestamp", "indexed_timestamp"]);

/** Explains the packages of an index that are asked about. */
export function explainRecords(
  index: Repodata,
  subdir: string,
  asked: Awaited<ReturnType<typeof readAsked>>,
  where: Whereabouts,
  rules: Rules | undefined,
): Explanation[] {
  const out: Explanation[] = [];
  const text = Buffer.from(index.bytes.buffer, index.bytes.byteOffset, index.bytes.length);
  for (const [name, places] of placesByName(index)) {
    if (!asked.matchesName(name)) continue;
    const candidates = places.map((place): Candidate => {
      const { map, entry } = entryOf(place);
      const at = index.maps[map].spans[entry * SPAN + 2] as number;
      return { subdir, fileName: recordAt(index, place).fileName, fields: fieldsAt(text, at, EVERYTHING) };
    });
    for (const one of explain(candidates, asked, where, rules)) out.push(one);
  }
  return out;
}
