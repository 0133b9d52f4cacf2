import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Brought } from "./bring.ts";
import { isSubdir } from "./conda/file-name.ts";
import { UsageError } from "./errors.ts";
import type { Run } from "./mirror.ts";
import { readPackage } from "./package/read.ts";
import { openGate } from "./solve/channel-gate.ts";
import { closure, type Root } from "./solve/closure.ts";
import { localSource } from "./source/local.ts";
import type { PackageRef } from "./source/source.ts";
import { urlSource } from "./source/url.ts";
import { readAll } from "./transfer/read-all.ts";
import { readAtPlace } from "./transfer/read-at-place.ts";
import { redactUrl } from "./transfer/redact.ts";
import { withRetries } from "./transfer/retry.ts";

/** Which dependencies to take along, and from where. */
export interface WithDeps {
  /** A channel's name, URL or folder. */
  readonly channel: string;
  /** Platforms to solve for; those of the packages when empty, else this machine's. */
  readonly platforms: readonly string[];
}

/** No index of a channel comes near this. */
const MAX_FILE = 1024 * 1024 * 1024;

/**
 * What the packages of a run need, as offers of a channel: the closure of their dependencies, solved for each platform, so
 * that the target installs without any other channel.
 * @param results what became of the packages; those that failed are left out.
 * @throws SourceError UNSOLVABLE, TransferError when the channel can't be read
 */
export async function dependencies(
  { channel, platforms }: WithDeps,
  results: readonly Brought[],
  refs: readonly PackageRef[],
  run: Run,
): Promise<PackageRef[]> {
  const roots = await rootsOf(results, refs, run.signal);
  if (roots.length === 0) return [];
  const base = channelBase(channel);
  const gate = await openGate((path) =>
    "folder" in base ? fromFolder(base.folder, path) : fromUrl(base.url, path, run),
  );
  const own = [...new Set(roots.map((r) => r.subdir))].filter((s) => s !== "noarch");
  const wanted = platforms.length > 0 ? platforms : own.length > 0 ? own : [thisPlatform()];
  const needed = new Map<string, { subdir: string; fileName: string }>();
  try {
    for (const platform of wanted) {
      const fitting = roots.filter((r) => r.subdir === "noarch" || r.subdir === platform);
      for (const one of await closure(fitting, platform, gate, redactUrl(channel)))
        needed.set(`${one.subdir}/${one.fileName}`, one);
    }
  } finally {
    await gate.close();
  }
  const offers: PackageRef[] = [];
  for (const { subdir, fileName } of needed.values()) {
    const source =
      "folder" in base
        ? localSource(join(base.folder, subdir, fileName))
        : urlSource(new URL(`${subdir}/${encodeURIComponent(fileName)}`, base.url).toString(), run.sourceContext);
    for await (const ref of source.packages(run.signal)) offers.push(ref);
  }
  return offers;
}

async function rootsOf(results: readonly Brought[], refs: readonly PackageRef[], signal: AbortSignal): Promise<Root[]> {
  const roots = new Map<string, Root>();
  for (const { outcome, record } of results) {
    if (outcome.outcome === "failed" || outcome.outcome === "skipped") continue;
    const { fileName, subdir } = outcome;
    const key = `${subdir}/${fileName}`;
    if (roots.has(key)) continue;
    const ref = refs.find((r) => r.fileName === fileName && r.origin === outcome.origin);
    const bytes = record ?? ref?.record ?? (ref && (await indexJson(ref, signal)));
    if (bytes) roots.set(key, { fileName, subdir, ...wordsOf(bytes) });
  }
  return [...roots.values()];
}

/** A package that was there already is looked into where it comes from. */
async function indexJson(ref: PackageRef, signal: AbortSignal): Promise<Uint8Array | undefined> {
  const info = await readPackage(ref.fileName, await readAtPlace(ref, signal), ["info/index.json"]);
  return info.members.get("info/index.json");
}

function wordsOf(record: Uint8Array): Pick<Root, "name" | "version" | "build" | "depends"> {
  const value = JSON.parse(Buffer.from(record).toString("utf8")) as Record<string, unknown>;
  const { name, version, build, depends } = value;
  const list = Array.isArray(depends) ? depends.filter((d): d is string => typeof d === "string") : [];
  return { name: String(name), version: String(version), build: String(build), depends: list };
}

function channelBase(text: string): { readonly url: string } | { readonly folder: string } {
  if (/^https?:\/\//i.test(text)) return { url: text.replace(/\/*$/, "/") };
  if (/^file:/i.test(text)) return { folder: fileURLToPath(text) };
  if (/^[\w.-]+(?:\/label\/[\w.-]+)?$/.test(text) && !text.startsWith("."))
    return { url: `https://conda.anaconda.org/${text}/` };
  if (/^(?:\.{0,2}[\\/]|[A-Za-z]:[\\/])/.test(text)) return { folder: text };
  throw new UsageError("BAD_FLAG", {
    what: `--with-deps ${redactUrl(text)}`,
    why: "it is no channel's name, URL or folder",
    next: "name a channel: --with-deps conda-forge, a URL, or a path that begins with ./ or /",
  });
}

async function fromUrl(base: string, path: string, run: Run): Promise<Uint8Array | undefined> {
  const url = new URL(path, base).toString();
  const place = {
    origin: redactUrl(url),
    open: (request: object, s: AbortSignal) => run.sourceContext.http.get(url, request, s),
  };
  return withRetries(() => readAll(place, MAX_FILE, run.signal), { ...run.retry, signal: run.signal });
}

async function fromFolder(folder: string, path: string): Promise<Uint8Array | undefined> {
  return readFile(join(folder, ...path.split("/"))).catch((e: NodeJS.ErrnoException) => {
    if (e.code === "ENOENT" || e.code === "ENOTDIR") return undefined;
    throw e;
  });
}

function thisPlatform(): string {
  const system = { linux: "linux", darwin: "osx", win32: "win" }[process.platform as string] ?? process.platform;
  const machine = process.arch === "arm64" ? (system === "linux" ? "aarch64" : "arm64") : "64";
  const platform = `${system}-${machine}`;
  return isSubdir(platform) ? platform : "linux-64";
}
