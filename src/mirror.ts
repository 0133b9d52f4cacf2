import { attested } from "./attest.ts";
import { type Brought, bring, currentRecord, type Wanting } from "./bring.ts";
import { indexFilesOf } from "./config/index-files.ts";
import { loadSettings } from "./config/load.ts";
import type { Settings } from "./config/settings.ts";
import { asMirrorError, InterruptedError, isInterruption, type MirrorError, UsageError } from "./errors.ts";
import type { MirrorReport, Outcome, PlannedStep } from "./events.ts";
import { type Following, keepUnseen } from "./following.ts";
import type { IndexFiles } from "./index/index-files.ts";
import { living, lose } from "./lost.ts";
import { explained, offered } from "./offers.ts";
import { makePlan, type Present, type Step } from "./plan/plan.ts";
import { advance, remember } from "./remember.ts";
import { guard, neverComing, removalsFor, spare } from "./removal.ts";
import { makeReport } from "./report.ts";
import { noteUnfinished, rounds } from "./rounds.ts";
import { type MirrorOptions, openRun, type Run } from "./run.ts";
import type { PackageRef } from "./source/source.ts";
import { isFailure, openTally } from "./tally.ts";
import type { Target } from "./target/target.ts";
import { pool } from "./transfer/pool.ts";
import { redactUrl } from "./transfer/redact.ts";

/**
 * Copies packages from sources into a channel and indexes it.
 * A package that fails is reported and the others go on, and so it is with one of several targets; what can't begin at all throws.
 * @throws UsageError for wrong options or configuration, TargetError when the only channel can't be read or written.
 */
export async function mirror(options: MirrorOptions): Promise<MirrorReport> {
  const began = performance.now();
  const settings = await loadSettings({
    file: options.config,
    env: options.env ?? process.env,
    flags: options.settings ?? {},
  });
  if (options.sources.length === 0)
    throw new UsageError("NO_SOURCE", {
      what: "no source",
      why: "mirror was not told which packages to take",
      next: "give a package's URL, a file, a folder or a glob",
    });
  const run = await openRun(options, settings);
  try {
    if (options.explain !== undefined)
      return makeReport(run, began, [], openTally(), { explanations: await explained(options.explain, run) });
    if (living(run).length === 0) return makeReport(run, began, [], openTally(), options.dryRun ? { plan: [] } : {});
    const following = await offered(run.sources, run);
    // What the packages need stays, and is known only when they are there.
    const withDeps = options.withDeps !== undefined && !run.ownDeps;
    if (!withDeps) guard(following, run.removal);
    const tally = openTally();
    const plan: PlannedStep[] = [];
    for await (const { refs, last } of rounds(following, run)) {
      const plans = await planFor(refs, run);
      if (options.dryRun) {
        const some = await told(plans, run, withDeps);
        const needs = await needed(options, some.would, refs, following, run);
        const more = await told(await planFor(needs, run), run, false);
        if (last && withDeps) guard(following, run.removal);
        tally.add([...some.would, ...more.would].filter((w) => w.outcome.outcome === "failed"));
        for (const step of [...some.plan, ...more.plan]) plan.push(step);
        continue;
      }
      const results = await carryOut(plans, run);
      const more = await needed(options, results, refs, following, run);
      if (last && withDeps) guard(following, run.removal);
      if (more.length > 0) for (const one of await carryOut(await planFor(more, run), run)) results.push(one);
      // What failed may be what the packages that came need: then what they replace has to stay.
      const missed = results.filter((r) => isFailure(r.outcome));
      for (const { target } of missed) following.lacking.add(target);
      keepUnseen(following, run, (target) => neverComing(missed.filter((m) => m.target === target)));
      // Threads take a while to end; the index is written meanwhile.
      if (last) void run.receivers.close();
      noteUnfinished(following, refs, results);
      tally.add(results);
      await publishAll(results, following, last, run);
      if (run.signal.aborted || living(run).length === 0) break;
    }
    if (!options.dryRun) return makeReport(run, began, following.failures, tally, { following });
    for (const target of living(run)) for (const step of goingSteps(target, following, run)) plan.push(step);
    return makeReport(run, began, following.failures, tally, { plan, following });
  } finally {
    await run.close();
  }
}

/** What is to be done for one target. Steps of all targets are about the same offers, in the same order. */
interface TargetPlan {
  readonly target: Target;
  readonly present: ReadonlyMap<string, readonly Present[]>;
  readonly steps: readonly Step<PackageRef>[];
}

async function planFor(refs: readonly PackageRef[], run: Run): Promise<TargetPlan[]> {
  const planOne = async (target: Target): Promise<TargetPlan | undefined> => {
    try {
      const present = await target.present(refs, run.signal);
      return { target, present, steps: makePlan(refs, present, run.onConflict) };
    } catch (e) {
      if (isInterruption(e, run.signal)) throw e;
      lose(target, e, run);
      return undefined;
    }
  };
  return (await Promise.all(living(run).map(planOne))).filter((plan) => plan !== undefined);
}

/**
 * What came packages need, as further offers; it does not go from a target. A failure to find out is told: what came before it
 * stays and is indexed.
 */
async function needed(
  { withDeps: channel, platforms = [] }: MirrorOptions,
  results: readonly Brought[],
  refs: readonly PackageRef[],
  following: Following,
  run: Run,
): Promise<readonly PackageRef[]> {
  if (channel === undefined || channel === true || run.ownDeps || run.signal.aborted) return [];
  // What packages need that are here already is known of those channels alone that are followed with what they need.
  if (run.sources.some((s) => s.channel)) following.incomplete = true;
  // Of a package that came to no target it is not known what it needs.
  const came = new Set(
    results.flatMap(({ outcome: o }) => (o.outcome === "failed" ? [] : [`${o.fileName} ${o.origin}`])),
  );
  if (results.some(({ outcome: o }) => !came.has(`${o.fileName} ${o.origin}`))) following.incomplete = true;
  let offers: readonly PackageRef[] = [];
  const tell = (what: string, error: MirrorError): void => {
    const failure = failed(what, redactUrl(channel), error);
    run.emit({ type: "finished", result: failure });
    following.failures.push(failure);
    following.incomplete = true;
  };
  try {
    const { dependencies } = await import("./with-deps.ts");
    const found = await dependencies({ channel, platforms }, results, refs, run);
    offers = found.offers;
    for (const { fileName, error } of found.unsolvable) tell(fileName, error);
  } catch (e) {
    if (run.signal.aborted) return [];
    tell(redactUrl(channel), asMirrorError(e, channel));
  }
  keepUnseen(following, run);
  spare(following, offers);
  return offers;
}

/**
 * What a dry run tells, and what would become of packages: of those that fail, and of all of them where somebody asks what they need.
 */
async function told(
  plans: readonly TargetPlan[],
  run: Run,
  needing: boolean,
): Promise<{ plan: PlannedStep[]; would: Brought[] }> {
  const { describePlan } = await import("./dry-run.ts");
  const plan: PlannedStep[] = [];
  const would: Brought[] = [];
  for (const { target, steps } of plans) {
    const concurrency = run.settings.max_concurrent_downloads;
    for (const s of await describePlan(steps, { onConflict: run.onConflict, concurrency, signal: run.signal })) {
      plan.push(ofTarget(s, target, run));
      const { fileName, origin, error, subdir } = s;
      if (error) {
        const refused = failed(fileName, origin, error);
        would.push({ target, outcome: refused });
        run.emit({ type: "finished", result: refused });
      } else if (subdir !== undefined && needing)
        would.push({ target, outcome: { outcome: "kept", fileName, subdir, origin } });
    }
  }
  return { plan, would };
}

/** Where there are several targets, what is told names the one it is about. */
function ofTarget<T extends object>(one: T, target: Target, run: Run): T {
  return run.targets.length > 1 ? { ...one, target: target.where } : one;
}

/** Publishes what came for each target. One of several whose index can't be written is lost; a run that has no other ends with it. */
async function publishAll(results: readonly Brought[], following: Following, last: boolean, run: Run): Promise<void> {
  const publishOne = async (target: Target): Promise<void> => {
    const its = results.filter((r) => r.target === target);
    // Of one that is lost already, what is in place should be in the index all the same.
    if (run.lost.has(target) && !its.some((r) => r.addition)) return;
    await publish(target, its, following, last && !run.lost.has(target), run);
  };
  const published = await Promise.allSettled(run.targets.map(publishOne));
  for (const [i, p] of published.entries()) {
    if (p.status === "fulfilled") continue;
    const target = run.targets[i] as Target;
    lose(target, asMirrorError(p.reason, redactUrl(target.where)), run);
  }
}

/** Also after an interruption: what is in place must be in the index. What goes, goes when all that is new is there. */
async function publish(
  target: Target,
  results: readonly Brought[],
  following: Following,
  last: boolean,
  run: Run,
): Promise<void> {
  const additions = results.flatMap((r) => r.addition ?? []);
  const removals = run.signal.aborted || !last ? new Map() : removalsFor(target, following, run.removal);
  if (additions.length === 0 && removals.size === 0 && !results.some((r) => r.outcome.outcome === "kept")) return;
  const warn = (message: string) => run.emit({ type: "warning", message });
  const deleteGraceMs = run.settings.delete_grace_days * DAY;
  const options = { files: filesOf(run.settings), warn, now: run.retry.clock.now(), deleteGraceMs };
  const published = await target.publish(additions, options, removals);
  for (const p of published) run.emit({ type: "published", ...p });
  if (!last) return advance(following, published);
  await remember(target, following, published, run).catch((e: Error) =>
    warn(`what was followed could not be remembered: ${e.message}`),
  );
}

const DAY = 24 * 60 * 60 * 1000;

/** What a dry run tells of what would go. */
function goingSteps(target: Target, following: Following, run: Run): PlannedStep[] {
  const steps: PlannedStep[] = [];
  for (const [subdir, { remove = [], takenBack = [] }] of removalsFor(target, following, run.removal))
    for (const fileName of new Set([...remove, ...takenBack]))
      steps.push(ofTarget({ do: "remove", fileName, subdir, origin: target.where }, target, run));
  return steps;
}

/** The old solver's index takes longer than all others together: it is kept up to date, and begun by `index` alone. */
function filesOf(settings: Settings): IndexFiles {
  const files = indexFilesOf(settings);
  return files.currentRepodata ? { ...files, currentRepodata: "keep" } : files;
}

function failed(fileName: string, origin: string, error: MirrorError): Outcome {
  return { outcome: "failed", fileName, origin, error };
}

/** A package, and the targets that want it. */
interface Transfer {
  readonly ref: PackageRef;
  readonly wanting: readonly Wanting[];
}

/** Brings what the plans ask for, a bounded number at once. */
async function carryOut(plans: readonly TargetPlan[], run: Run): Promise<Brought[]> {
  const results: Brought[] = [];
  const take = ({ outcome, ...result }: Brought) => {
    const named = ofTarget(outcome, result.target, run);
    results.push({ ...result, outcome: named });
    run.emit({ type: "finished", result: named });
  };
  const transfers: Transfer[] = [];
  const attestations: { readonly ref: PackageRef; readonly target: Target; readonly kept: Brought }[] = [];
  const offers = plans[0]?.steps ?? [];
  for (const [i, { offer: ref }] of offers.entries()) {
    const wanting: Wanting[] = [];
    for (const { target, present, steps } of plans) {
      const step = steps[i] as Step<PackageRef>;
      const there = present.get(ref.fileName) ?? [];
      if (step.do === "add" || step.do === "compare" || step.do === "replace") wanting.push({ target, there });
      else if (step.do === "keep" && ref.current) {
        const kept = { target, outcome: settled(step), addition: currentRecord(ref) };
        if (ref.attestations) attestations.push({ ref, target, kept });
        else take(kept);
      } else take({ target, outcome: settled(step) });
    }
    if (wanting.length > 0) transfers.push({ ref, wanting });
  }
  // What keeps every package out is told once, before anything is fetched.
  if (transfers.length > 0) await stageable(transfers, run);
  // A record may promise attestations that its older form did not.
  const attest = async ({ ref, target, kept }: (typeof attestations)[number]): Promise<Brought> => {
    try {
      await (await attested(ref, [target], run))?.put(target, ref.subdir as string);
      return kept;
    } catch (e) {
      const error = run.signal.aborted ? new InterruptedError(e) : asMirrorError(e, ref.fileName);
      return { target, outcome: failed(ref.fileName, ref.origin, error) };
    }
  };
  for await (const one of pool(attestations, run.settings.max_concurrent_downloads, attest, run.signal)) take(one);
  const sizes = transfers.map((t) => t.ref.size);
  const bytes = sizes.reduce<number>((sum, s) => sum + (s ?? 0), 0);
  const unknownSizes = sizes.filter((s) => s === undefined).length;
  run.emit({ type: "planned", packages: transfers.length, bytes, unknownSizes });
  const names = new Map<string, number>();
  for (const { ref } of transfers) names.set(ref.fileName, (names.get(ref.fileName) ?? 0) + 1);
  const bringOne = async (transfer: Transfer): Promise<readonly Brought[]> => {
    const { ref } = transfer;
    const { fileName, origin } = ref;
    // What only targets want that are lost meanwhile is not fetched.
    const wanting = transfer.wanting.filter((w) => !run.lost.has(w.target));
    if (wanting.length === 0) return [];
    run.emit({ type: "started", fileName });
    try {
      return await bring(ref, wanting, names.get(fileName) === 1, run);
    } catch (e) {
      const error: MirrorError = run.signal.aborted ? new InterruptedError(e) : asMirrorError(e, fileName);
      return wanting.map(({ target }) => ({ target, outcome: failed(fileName, origin, error) }));
    }
  };
  for await (const brought of pool(transfers, run.settings.max_concurrent_downloads, bringOne, run.signal))
    for (const one of brought) take(one);
  return results;
}

/** Sees to it that packages have a place on their way; of several targets those that have none are lost. */
async function stageable(transfers: Transfer[], run: Run): Promise<void> {
  if (run.targets.length > 1) {
    for (const target of new Set(transfers.flatMap(({ wanting }) => wanting.map((w) => w.target))))
      await target.staging().catch((e) => lose(target, e, run));
    // What only they wanted is not fetched.
    const wanted = transfers
      .splice(0)
      .map(({ ref, wanting }) => ({ ref, wanting: wanting.filter((w) => !run.lost.has(w.target)) }));
    for (const one of wanted) if (one.wanting.length > 0) transfers.push(one);
  }
  if (transfers.length > 0) await run.stagedPath();
}

/** The outcome of a step that moves nothing. */
function settled(step: Extract<Step<PackageRef>, { do: "keep" | "skip" | "refuse" }>): Outcome {
  const { fileName, origin } = step.offer;
  if (step.do === "refuse") return failed(fileName, origin, step.error);
  return { outcome: step.do === "keep" ? "kept" : "skipped", fileName, subdir: step.present.subdir, origin };
}
