import { openClients } from "./clients.ts";
import { loadSettings } from "./config/load.ts";
import { asMirrorError, InterruptedError, type MirrorError, UsageError } from "./errors.ts";
import { type PackageFacts, packageFacts } from "./package-details.ts";
import { packagesOf } from "./packages-of.ts";
import type { MirrorOptions } from "./run.ts";
import { inferSourceType, openSource } from "./source/kinds.ts";
import { memberPattern } from "./source/member-pattern.ts";
import type { Offered } from "./source/offered.ts";
import type { PackageRef, Source } from "./source/source.ts";
import { type SourceOptions, sourceContext } from "./source-context.ts";
import { pool } from "./transfer/pool.ts";
import { redactUrl } from "./transfer/redact.ts";
import { type RetryOptions, systemClock } from "./transfer/retry.ts";
import { scratchFolder } from "./transfer/scratch.ts";

/** What to tell of. Exactly one of `source`, `github`, `azure` and `pr` is given. */
export interface InfoOptions extends SourceOptions, Pick<MirrorOptions, "settings" | "config" | "env" | "clock"> {
  /** As `mirror` takes it. */
  readonly source?: string;
  /** "owner/repo", or its address. */
  readonly github?: string;
  /** "organisation/project", or its address. */
  readonly azure?: string;
  /** A build of `azure`; its builds when absent. */
  readonly buildId?: number;
  /** A pull request: its address, "owner/repo/pull/N", or the number of one of conda-forge/staged-recipes. */
  readonly pr?: string;
  /** The type of `source`; inferred when absent. */
  readonly sourceType?: string;
  /** A regular expression: what has such a name. */
  readonly nameFilter?: string;
  /** A regular expression: what has such a description, such as the name of a pipeline. */
  readonly descriptionFilter?: string;
  /** Leave out what can't be fetched any more. */
  readonly excludeExpired?: boolean;
  readonly signal?: AbortSignal;
  readonly onWarning?: (message: string) => void;
}

/** A package that is on offer. */
export interface PackageRow extends PackageFacts {
  readonly kind: "package";
  /** The arguments of `mirror` that take it alone, target aside. */
  readonly take: readonly string[];
}

export type InfoRow = PackageRow | Offered;

export interface InfoReport {
  /** What was told of, secrets removed. */
  readonly source: string;
  /** One of SOURCE_TYPES. */
  readonly type: string;
  readonly rows: readonly InfoRow[];
  /** Set when the source could be read in part only. */
  readonly error?: MirrorError;
  /** 1 when something on offer can't be taken as it is. */
  readonly exitCode: 0 | 1;
}

/**
 * What a source offers: builds and artifacts as their service lists them, else packages, which are looked into without
 * fetching them whole. Of a single package everything is told.
 * @throws UsageError; SourceError and TransferError when nothing of it can be read; InterruptedError
 */
export async function info(options: InfoOptions): Promise<InfoReport> {
  const rows: InfoRow[] = [];
  const told = await eachOffer(options, (row) => void rows.push(row));
  return { ...told, rows };
}

/**
 * The same, row by row in order: of a channel with a million packages none is kept.
 * @param onRow what it gives is waited for.
 */
export async function eachOffer(
  options: InfoOptions,
  onRow: (row: InfoRow, about: Pick<InfoReport, "source" | "type">) => void | Promise<void>,
): Promise<Omit<InfoReport, "rows">> {
  const env = options.env ?? process.env;
  const clock = options.clock ?? systemClock;
  const signal = options.signal ?? new AbortController().signal;
  const warn = options.onWarning ?? (() => undefined);
  const named = namedSource(options);
  const wanted = filters(options);
  const settings = await loadSettings({ file: options.config, env, flags: options.settings ?? {} });
  const retry = { attempts: settings.retry_attempts, longestWaitMs: settings.timeout_seconds * 1000, clock };
  const clients = await openClients(settings, { env, now: () => clock.now(), warn });
  const scratch = scratchFolder();
  try {
    const { nameFilter } = options;
    const ci = { ...options.ci, ...(nameFilter === undefined ? {} : { nameFilter }) };
    const silent = { onCheck: () => undefined, onRead: () => undefined };
    const held = { ...clients, retry, env, scratch: scratch.folder, warn, ...silent };
    const context = sourceContext({ ...options, ci }, settings, held);
    const type = named.type ?? inferSourceType(named.text, context) ?? "";
    const source = await openSource(named.text, named.type, context);
    const about = { source: redactUrl(named.text), type };
    const rows = source.describe?.(signal) ?? lookedInto(source, named, context.concurrency, retry, signal);
    // What CI's artifacts are called was asked for already; packages in them have names of their own.
    const byName = source.describe !== undefined || !["github", "azure", "pr"].includes(type);
    let nothing = true;
    let failed = false;
    const kinds = new Set<InfoRow["kind"]>();
    let error: MirrorError | undefined;
    try {
      for await (const row of rows) {
        nothing = false;
        if (!wanted(row, byName)) continue;
        kinds.add(row.kind);
        failed ||= "error" in row && row.error !== undefined;
        await onRow(row, about);
      }
    } catch (e) {
      if (nothing) throw e;
      error = asMirrorError(e, source.what);
    }
    if (signal.aborted) throw new InterruptedError();
    const [kind] = kinds;
    if (nameFilter !== undefined && kind !== undefined && !NAMED.some((one) => kinds.has(one)))
      warn(
        `--name-filter ${nameFilter} is about artifacts, these are ${kind}s: --description-filter chooses among them`,
      );
    return { ...about, ...(error ? { error } : {}), exitCode: failed || error ? 1 : 0 };
  } catch (e) {
    throw signal.aborted ? new InterruptedError(e) : e;
  } finally {
    await Promise.all([clients.close(), scratch.remove()]);
  }
}

interface Named {
  readonly text: string;
  readonly type: string | undefined;
}

/** The source that the options name, as `mirror` takes it. @throws UsageError NO_SOURCE, BAD_FLAG */
function namedSource({ source, github, azure, pr, buildId, sourceType }: InfoOptions): Named {
  const given = Object.entries({ SOURCE: source, "--github": github, "--azure": azure, "--pr": pr }).filter(
    ([, text]) => text !== undefined,
  );
  if (given.length !== 1) {
    throw new UsageError("NO_SOURCE", {
      what: given.length === 0 ? "no source" : given.map(([flag]) => flag).join(" and "),
      why: given.length === 0 ? "info was not told what to look at" : "info looks at one source",
      next: "give a source as for mirror, or one of --github OWNER/REPO, --azure ORG/PROJECT, --pr N",
    });
  }
  if (buildId !== undefined && azure === undefined) {
    throw new UsageError("BAD_FLAG", {
      what: `--build-id ${buildId}`,
      why: "it is a build of --azure, which is not given",
      next: "name the project: --azure ORG/PROJECT --build-id N",
    });
  }
  if (github !== undefined) return { text: github, type: "github" };
  if (azure !== undefined)
    return { text: buildId === undefined ? azure : `${azure.replace(/#\d*$/, "")}#${buildId}`, type: "azure" };
  if (pr !== undefined)
    return { text: /^#?\d+$/.test(pr) ? `conda-forge/staged-recipes/pull/${pr.replace("#", "")}` : pr, type: "pr" };
  return { text: source as string, type: sourceType };
}

/** What `nameFilter` is about. Builds and checks are shown whatever their names are. */
const NAMED: readonly InfoRow["kind"][] = ["package", "artifact", "release-asset"];

/** @throws UsageError BAD_FLAG */
function filters(options: InfoOptions): (row: InfoRow, byName: boolean) => boolean {
  const { nameFilter, descriptionFilter, excludeExpired, subdirs } = options;
  const name = nameFilter === undefined ? undefined : memberPattern(nameFilter, "--name-filter");
  const description =
    descriptionFilter === undefined ? undefined : memberPattern(descriptionFilter, "--description-filter");
  return (row, byName) => {
    if (name && byName && NAMED.includes(row.kind) && !name.test(row.kind === "package" ? row.fileName : row.name))
      return false;
    if (row.kind === "package") return row.subdir === undefined || (subdirs?.includes(row.subdir) ?? true);
    if (description && !description.test(row.description ?? row.name)) return false;
    return !(excludeExpired && row.expired);
  };
}

type Found = PackageRef | { readonly fileName: string; readonly origin: string; readonly error: MirrorError };

/** So many packages are looked into before their rows are told. */
const WINDOW = 500;

/** Packages as rows, in the source's order. What it named before it failed is told first. */
async function* lookedInto(
  source: Source,
  named: Named,
  concurrency: number,
  retry: Omit<RetryOptions, "signal">,
  signal: AbortSignal,
): AsyncGenerator<PackageRow> {
  let window: Found[] = [];
  let before = 0;
  const look = async (detailed: boolean): Promise<PackageRow[]> => {
    const rows: PackageRow[] = [];
    const numbered = window.map((one, i) => [one, i] as const);
    const lookInto = async ([one, i]: (typeof numbered)[number]): Promise<void> => {
      const facts = "error" in one ? one : await packageFacts(one, detailed, retry, signal);
      rows[i] = { kind: "package", ...facts, take: takeArguments(one, named) };
    };
    for await (const _ of pool(numbered, concurrency, lookInto, signal));
    before += window.length;
    window = [];
    return rows.filter((row) => row !== undefined);
  };
  try {
    for await (const one of packagesOf(source, { signal })) {
      window.push(one);
      if (window.length === WINDOW) yield* await look(false);
    }
  } catch (e) {
    yield* await look(before + window.length === 1);
    throw e;
  }
  yield* await look(before + window.length === 1);
}

/** What `mirror` has to be told to take this package and no other. */
function takeArguments(ref: { readonly origin: string; readonly member?: string; sha256?: string }, named: Named) {
  if (ref.member === undefined) {
    const isUrl = /^https?:/.test(ref.origin);
    return [isUrl && ref.sha256 !== undefined ? `${ref.origin}#sha256:${ref.sha256}` : ref.origin];
  }
  const type = named.type === undefined ? [] : ["--src-type", named.type];
  return [redactUrl(named.text), ...type, "--src-path", `^${ref.member.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}$`];
}
