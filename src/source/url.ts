import { formatOf, isSubdir } from "../conda/file-name.ts";
import { recordFacts } from "../conda/record-facts.ts";
import { UsageError } from "../errors.ts";
import type { HttpClient } from "../transfer/http.ts";
import type { Place } from "../transfer/place.ts";
import { redactUrl } from "../transfer/redact.ts";
import type { ChannelLookup } from "./channel-lookup.ts";
import { type PackageRef, SIDECARS, type Source } from "./source.ts";

/** `A=B` of `--mirror-of`: whatever lies below A can be had below B too. */
export interface MirrorOf {
  readonly url: string;
  readonly mirror: string;
}

/** A package's URL: the file's name, and what its fragment promises. */
export interface PackageUrl {
  readonly url: string;
  readonly fileName: string;
  readonly sha256?: string;
  readonly md5?: string;
}

/**
 * Splits a package URL with an optional `#<md5>`, `#<sha256>`, `#md5:…` or `#sha256:…` (CEP 23).
 * @throws UsageError BAD_SOURCE for anything else.
 */
function parsePackageUrl(text: string): PackageUrl {
  const refuse = (why: string) =>
    new UsageError("BAD_SOURCE", {
      what: `${redactUrl(text)}: not a package's URL`,
      why,
      next: "give an http(s) URL that ends in .conda or .tar.bz2, with #md5 or #sha256:… if you have it",
    });
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw refuse("it is no URL");
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") throw refuse(`${url.protocol} addresses can't be fetched`);
  const hash = /^#?(?:(md5|sha256)[:=])?([0-9a-fA-F]+)$/.exec(url.hash);
  const promised: { md5?: string; sha256?: string } = {};
  if (url.hash) {
    const digits = hash?.[2]?.toLowerCase() ?? "";
    const kind = hash?.[1] ?? (digits.length === 64 ? "sha256" : "md5");
    if (digits.length !== (kind === "sha256" ? 64 : 32))
      throw refuse(`the fragment ${url.hash} is neither an MD5 (32 hex digits) nor a SHA-256 (64)`);
    promised[kind as "md5" | "sha256"] = digits;
  }
  url.hash = "";
  let fileName: string;
  try {
    fileName = decodeURIComponent(url.pathname.slice(url.pathname.lastIndexOf("/") + 1));
  } catch {
    throw refuse("its file name is not percent-encoded UTF-8");
  }
  if (!formatOf(fileName)) throw refuse("its path ends in neither .conda nor .tar.bz2");
  return { url: url.toString(), fileName, ...promised };
}

/** What is known of the package at a URL from elsewhere than the URL itself. */
export type Known = Pick<PackageRef, "sha256" | "md5" | "size" | "subdir" | "record" | "current">;

/** The package at a URL, and what lies at the mirrors of its place. What is known binds. */
export function urlRef(
  { url, fileName }: PackageUrl,
  known: Known,
  { http, mirrors }: { readonly http: HttpClient; readonly mirrors: readonly MirrorOf[] },
): PackageRef {
  const place = (at: string): Place => ({
    origin: redactUrl(at),
    address: { url: at },
    open: (request, s) => http.get(at, request, s),
  });
  // A signed address is for one file.
  const sidecars = () => (url.includes("?") ? [] : SIDECARS.map((suffix) => place(`${url}${suffix}`)));
  return {
    ...(url.includes("?") ? {} : promisedBy(known.record, (suffix) => place(`${url}${suffix}`))),
    ...place(url),
    fileName,
    key: url,
    fallbacks: mirrorsOf(url, mirrors).map(place),
    sidecars,
    ...known,
  };
}

/** The attestations that a record promises (CEP 50), where it names a hash. @param beside where what has the package's name and this suffix lies */
export function promisedBy(
  record: Uint8Array | undefined,
  beside: (suffix: string) => Place,
): Pick<PackageRef, "attestations"> {
  const promised = record && recordFacts(record).attestations;
  if (typeof promised !== "string" || !/^[0-9a-f]{64}$/.test(promised)) return {};
  return { attestations: { sha256: promised, place: () => beside(`.sigs.${promised}`) } };
}

/**
 * Packages at URLs. Where a URL carries no hash and lies in a channel (its folder is a subdir that has an index), the
 * channel's own record gives hashes, size and the record to publish, hot-fixes included.
 */
export function urlSource(
  text: string,
  context: { http: HttpClient; channels: ChannelLookup; mirrors: readonly MirrorOf[] },
): Source {
  const parsed = parsePackageUrl(text);
  return {
    what: redactUrl(parsed.url),
    async *packages(signal) {
      if (parsed.sha256 || parsed.md5) {
        yield urlRef(parsed, hashesOf(parsed), context);
        return;
      }
      const record = await context.channels.recordOf(parsed.url, parsed.fileName, signal);
      yield urlRef(parsed, record ? knownFrom(record) : {}, context);
    },
  };
}

/** A channel's record, and what it promises. */
export function knownFrom(record: Uint8Array): Known {
  const { size, subdir, ...hashes } = recordFacts(record);
  return {
    record,
    ...hashesOf(hashes),
    ...(size !== undefined ? { size } : {}),
    ...(subdir !== undefined && isSubdir(subdir) ? { subdir } : {}),
  };
}

function hashesOf(of: { sha256?: string; md5?: string }): { sha256?: string; md5?: string } {
  return { ...(of.sha256 ? { sha256: of.sha256 } : {}), ...(of.md5 ? { md5: of.md5 } : {}) };
}

/** `URL=URL` as typed. @throws UsageError BAD_FLAG */
export function parseMirrorOf(text: string): MirrorOf {
  const match = /^(https?:\/\/.+?)=(https?:\/\/.+)$/.exec(text);
  const odd = match?.slice(1).find((url) => !URL.canParse(url));
  if (!match || odd !== undefined) {
    throw new UsageError("BAD_FLAG", {
      what: `--mirror-of ${redactUrl(text)}`,
      why: odd === undefined ? "it is not of the form URL=URL" : `${redactUrl(odd)} is no URL`,
      next: "name the original first: --mirror-of https://conda.anaconda.org/=https://mirror.example.com/",
    });
  }
  return { url: match[1] as string, mirror: match[2] as string };
}

/** The other addresses of a URL. User and password of the original are left out: they are for its host alone. */
export function mirrorsOf(url: string, mirrors: readonly MirrorOf[]): string[] {
  if (mirrors.length === 0) return [];
  const bare = new URL(url);
  bare.username = "";
  bare.password = "";
  const address = bare.toString();
  return mirrors.flatMap((m) => {
    const below = new URL(m.url).toString();
    if (address !== below && !address.startsWith(below.endsWith("/") ? below : `${below}/`)) return [];
    const rest = address.slice(below.length);
    return [rest === "" ? m.mirror : `${m.mirror.replace(/\/$/, "")}/${rest.replace(/^\//, "")}`];
  });
}
