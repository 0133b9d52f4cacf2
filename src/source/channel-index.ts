import { MirrorError, SourceError, TransferError } from "../errors.ts";
import { decompressBz2, decompressIndex } from "../index/compress.ts";
import { infoValue } from "../index/index-info.ts";
import { letGo } from "../index/let-go.ts";
import { type Repodata, readRepodata } from "../index/repodata.ts";
import { redactUrl } from "../transfer/redact.ts";
import type { ChannelFile, ChannelPlace } from "./channel-place.ts";

/** What names a state of a subdir's index: one of its files, and that file's version. */
export interface UpstreamState {
  /** Its name inside the subdir. */
  readonly file: string;
  readonly version: string | undefined;
}

/** The index of one subdir of a channel that is a source. */
export interface Upstream {
  readonly subdir: string;
  readonly index: Repodata;
  /** Records that can't be used, by file name, with the reason. */
  readonly refused: ReadonlyMap<string, string>;
  /** Absolute address of where its packages lie; ends like a folder. */
  readonly packagesAt: string;
  readonly state: UpstreamState;
  /** A package's run exports as compact JSON where the index tells them. */
  runExports(fileName: string): Uint8Array | undefined;
}

/** No index of a channel comes near this. */
const MAX_INDEX = 2 * 1024 ** 3;

const unpacked: Readonly<Record<string, (bytes: Uint8Array) => Promise<Uint8Array>>> = {
  "repodata.json.zst": (bytes) => decompressIndex(bytes, MAX_INDEX),
  "repodata.json": async (bytes) => bytes,
  "repodata.json.bz2": (bytes) => decompressBz2(bytes, MAX_INDEX),
};

/** The whole index of a subdir in the forms in which it is asked for; old channels have no more than the last two. */
const WHOLE = Object.keys(unpacked);

/**
 * A subdir's whole index: the `.zst` of it where there is one, else plain, else `.bz2`. Undefined when there is none.
 * @param unless gives "unchanged" when that file still has that version.
 * @param limit bytes of a file as it comes.
 * @throws SourceError BAD_INDEX, TransferError
 */
export async function readWholeIndex(
  place: ChannelPlace,
  subdir: string,
  signal: AbortSignal,
  unless?: UpstreamState,
  limit: number = MAX_INDEX,
): Promise<Upstream | "unchanged" | undefined> {
  let refusal: TransferError | undefined;
  const known = unless?.version === undefined || !WHOLE.includes(unless.file) ? undefined : unless;
  for (const file of known ? [known.file, ...WHOLE.filter((name) => name !== known.file)] : WHOLE) {
    const path = `${subdir}/${file}`;
    let found: ChannelFile | "unchanged" | undefined;
    try {
      found = await place.read(path, limit, signal, file === known?.file ? known.version : undefined);
    } catch (e) {
      // 403 is what S3 answers for a missing key where listing is not allowed.
      if (!(e instanceof TransferError && e.code === "REFUSED")) throw e;
      refusal ??= e;
      continue;
    }
    if (found === "unchanged") return "unchanged";
    if (!found) continue;
    try {
      checkIsFile(found.bytes);
      const bytes = await (unpacked[file] as (b: Uint8Array) => Promise<Uint8Array>)(found.bytes);
      if (bytes !== found.bytes) letGo(found.bytes);
      const refused = new Map<string, string>();
      const index = readRepodata(bytes, refused);
      return upstreamOf(place, subdir, index, refused, { file, version: found.version });
    } catch (e) {
      throw badIndex(place, path, e);
    }
  }
  if (refusal) throw refusal;
  return undefined;
}

/** What servers give in place of an index, in words that say so. @throws Error */
export function checkIsFile(bytes: Uint8Array): void {
  if (bytes.length === 0) throw new Error("the server gave a file of no bytes");
  if (/^\s*</.test(Buffer.from(bytes.subarray(0, 100)).toString("latin1")))
    throw new Error("a web page came in its place, maybe one to sign in on");
  if (bytes[0] === 0x1f && bytes[1] === 0x8b)
    throw new Error("it came compressed with gzip, though the server was asked for it as it is");
}

function upstreamOf(
  place: ChannelPlace,
  subdir: string,
  index: Repodata,
  refused: ReadonlyMap<string, string>,
  state: UpstreamState,
): Upstream {
  const info = infoValue(index);
  if (info["subdir"] !== undefined && info["subdir"] !== subdir)
    throw new Error(`it says that it is the index of ${JSON.stringify(info["subdir"])}`);
  return {
    subdir,
    index,
    refused,
    packagesAt: placeNamed(place, `${subdir}/${state.file}`, "base_url", info["base_url"]),
    state,
    runExports: nothing,
  };
}

const nothing = (): undefined => undefined;

/**
 * Where an index says that packages (CEP 15) or shards (CEP 16) lie, or beside it.
 * @param path the index
 * @param key what says so in its `info`
 * @throws SourceError BAD_INDEX where that is no address, or can't be followed
 */
export function placeNamed(place: ChannelPlace, path: string, key: string, value: unknown): string {
  const base = typeof value === "string" && value !== "" ? value : "./";
  const refuse = (why: string, cause?: unknown) =>
    new SourceError("BAD_INDEX", {
      what: `${place.address.name}: the ${key} of ${path} is no address`,
      why: `it says ${JSON.stringify(redactUrl(base))}: ${why}`,
      next: "nothing of this subdir is taken; tell the channel's owner",
      cause,
    });
  if (/%(?![0-9a-f]{2})/i.test(base)) throw refuse('a "%" stands there that two hexadecimal digits must follow');
  if (/%00|\0/.test(base)) throw refuse("no path may hold a zero byte");
  try {
    const found = place.resolve(path, base.endsWith("/") ? base : `${base}/`);
    // Keys of buckets and paths of registries are what is spelled there.
    if (!/^https?:/i.test(found) && /^[a-z][a-z0-9+.-]+:\/\//i.test(found)) decodeURIComponent(found);
    return found;
  } catch (e) {
    if (e instanceof URIError) throw refuse("what its percent signs spell is no UTF-8", e);
    if (e instanceof TypeError) throw refuse("a URL can't be made of it", e);
    throw e;
  }
}

/** @param e what reading it failed with; errors of ours stay what they are. */
export function badIndex(place: ChannelPlace, path: string, e: unknown): unknown {
  if (e instanceof MirrorError || (e as Error).name === "AbortError") return e;
  return new SourceError("BAD_INDEX", {
    what: `${place.address.name}: ${path} can't be read`,
    why: (e as Error).message,
    next: "nothing of this subdir is taken; run again later, or tell the channel's owner",
    cause: e,
  });
}
