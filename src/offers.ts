import { chooseCandidates } from "./choose/choose-candidates.ts";
import { type Candidate, type Explanation, explain, explainRecords, readAsked } from "./choose/explain.ts";
import { hopeless, type Rules, rulesFor } from "./choose/rules.ts";
import { parseFileName } from "./conda/file-name.ts";
import type { RecordFields } from "./conda/match-spec.ts";
import { asMirrorError, InterruptedError, isInterruption, type MirrorError } from "./errors.ts";
import type { Outcome } from "./events.ts";
import { follow } from "./follow.ts";
import { whereIs } from "./follow-subdir.ts";
import { type Following, keepUnseen } from "./following.ts";
import { readPackage } from "./package/read.ts";
import { readUpstream } from "./read-upstream.ts";
import type { Run } from "./run.ts";
import type { PackageRef, Source } from "./source/source.ts";
import { pool } from "./transfer/pool.ts";
import { readAtPlace } from "./transfer/read-at-place.ts";
import { noteUnoffered } from "./unoffered.ts";

/** Every package that is wanted and on offer, the sources that could not be read, and what channels no longer have. */
export async function offered(sources: readonly Source[], run: Run): Promise<Following> {
  const plain = sources.filter((s) => !s.channel);
  const found = await enumerated(plain, run);
  const chosen = run.rules || run.subdirs ? await chosenOf(found.refs, run) : { refs: found.refs, failures: [] };
  for (const f of chosen.failures) run.emit({ type: "finished", result: f });
  const channels = sources.flatMap((s) => s.channel ?? []);
  const following = await follow(channels, chosen.refs, run);
  // What was not seen can't be told from what is not there.
  if (found.failures.length + chosen.failures.length > 0) following.incomplete = true;
  noteUnoffered(following, chosen.refs, run);
  keepUnseen(following, run);
  following.refs.unshift(...chosen.refs);
  following.failures.unshift(...found.failures, ...chosen.failures);
  return following;
}

/** Why packages of the sources are taken or left out. */
export async function explained(text: string, run: Run): Promise<Explanation[]> {
  const asked = await readAsked(text);
  const found = await enumerated(
    run.sources.filter((s) => !s.channel),
    run,
  );
  const about = found.refs.filter((ref) => asked.matchesName(parseFileName(ref.fileName).name.toLowerCase()));
  const { candidates } = await chosenOf(about, { ...run, rules: undefined });
  const out = explain([...candidates.values()], asked, {}, run.rules);
  for (const channel of run.sources.flatMap((s) => s.channel ?? [])) {
    for (const subdir of await channel.subdirs(run.signal)) {
      const read = await readUpstream(channel, subdir, undefined, { ...run, rules: undefined }, asked.matchesName);
      if (read && read !== "unchanged")
        out.push(
          ...explainRecords(read.upstream.index, subdir, asked, { channel: whereIs(channel), subdir }, run.rules),
        );
    }
  }
  return out;
}

/** Every package on offer, and the sources that could not be read. */
async function enumerated(sources: readonly Source[], run: Run): Promise<{ refs: PackageRef[]; failures: Outcome[] }> {
  const failures: Outcome[] = [];
  const bySource: PackageRef[][] = sources.map(() => []);
  const enumerate = async ([source, i]: readonly [Source, number]): Promise<void> => {
    try {
      for await (const ref of source.packages(run.signal)) {
        // A name becomes a path in the target: nothing looks for it there before it is known to be harmless.
        const error = badName(ref.fileName);
        if (error) failures.push({ outcome: "failed", fileName: ref.fileName, origin: ref.origin, error });
        else bySource[i]?.push(ref);
      }
    } catch (e) {
      const error = run.signal.aborted ? new InterruptedError(e) : asMirrorError(e, source.what);
      if (error instanceof InterruptedError) return;
      failures.push({ outcome: "failed", fileName: source.what, origin: source.what, error });
    }
  };
  const numbered = sources.map((s, i) => [s, i] as const);
  for await (const _ of pool(numbered, run.settings.max_concurrent_downloads, enumerate, run.signal));
  for (const f of failures) run.emit({ type: "finished", result: f });
  return { refs: bySource.flat(), failures };
}

function badName(fileName: string): MirrorError | undefined {
  try {
    parseFileName(fileName);
    return undefined;
  } catch (e) {
    return asMirrorError(e, fileName);
  }
}

/** Of offers of sources that are no channels those that rules and subdirs want; packages without a record are looked into. */
async function chosenOf(
  refs: readonly PackageRef[],
  run: Run,
): Promise<{ refs: PackageRef[]; failures: Outcome[]; candidates: Map<PackageRef, Candidate> }> {
  const { rules, subdirs } = run;
  const failures: Outcome[] = [];
  const candidates = new Map<PackageRef, Candidate>();
  const look = async (ref: PackageRef): Promise<void> => {
    try {
      if (subdirs && ref.subdir !== undefined && !subdirs.includes(ref.subdir)) return;
      const candidate = await candidateOf(ref, rules, run.signal);
      if (candidate && (subdirs?.includes(candidate.subdir) ?? true)) candidates.set(ref, candidate);
    } catch (e) {
      if (isInterruption(e, run.signal)) return;
      const error = asMirrorError(e, ref.fileName);
      failures.push({ outcome: "failed", fileName: ref.fileName, origin: ref.origin, error });
    }
  };
  for await (const _ of pool(refs, run.settings.max_concurrent_downloads, look, run.signal));
  const wanted = new Set(chooseCandidates([...candidates.values()], {}, rules));
  return { refs: refs.filter((ref) => wanted.has(candidates.get(ref) as Candidate)), failures, candidates };
}

/** What rules have to know of a package; undefined when its name alone says that it can't be wanted. */
async function candidateOf(
  ref: PackageRef,
  rules: Rules | undefined,
  signal: AbortSignal,
): Promise<Candidate | undefined> {
  const { fileName } = ref;
  const { name, version, build } = parseFileName(fileName);
  if (rules && hopeless(rulesFor(name.toLowerCase(), rules))) return undefined;
  let { record, subdir } = ref;
  let size = ref.size;
  if (!record) {
    const file = await readAtPlace(ref, signal);
    size ??= file.size;
    record = (await readPackage(fileName, file, ["info/index.json"])).members.get("info/index.json");
  }
  const fields = JSON.parse(Buffer.from(record ?? Buffer.from("{}")).toString("utf8")) as RecordFields;
  subdir ??= typeof fields["subdir"] === "string" ? fields["subdir"] : "noarch";
  return { subdir, fileName, fields: { name, version, build, size, ...fields, subdir } };
}
