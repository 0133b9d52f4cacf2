import { realpath, stat } from "node:fs/promises";
import { basename, relative, resolve, sep } from "node:path";
import { pathOf } from "../conda/file-url.ts";
import { SourceError, UsageError } from "../errors.ts";
import type { HttpClient } from "../transfer/http.ts";
import { openFile } from "../transfer/open-file.ts";
import type { Place } from "../transfer/place.ts";
import { redactUrl } from "../transfer/redact.ts";
import { isUrl } from "./archive/names-archive.ts";
import { packagesIn } from "./archive/packages-in.ts";
import type { ArchiveOptions } from "./archive/walk.ts";
import type { Source } from "./source.ts";

/**
 * The packages in an archive: a path, a `file://` URL or an http(s) URL. All types take all of these, as the Rust tool's
 * `zip-url` and `tgz-url` do; what the archive is, its content says.
 * @throws UsageError BAD_SOURCE
 */
export function archiveSource(
  text: string,
  context: Omit<ArchiveOptions, "key"> & { readonly http: HttpClient },
): Source {
  if (isUrl(text)) {
    const url = checkedUrl(text);
    const place: Place = {
      origin: redactUrl(url),
      address: { url },
      open: (request, signal) => context.http.get(url, request, signal),
    };
    return { what: place.origin, packages: (signal) => packagesIn(place, { ...context, key: url }, signal) };
  }
  const path = pathOf(text);
  return {
    what: path,
    async *packages(signal) {
      const { place, whole } = await localPlace(path);
      yield* packagesIn(place, { ...context, key: `file:${whole}` }, signal);
    },
  };
}

function checkedUrl(text: string): string {
  const refuse = (why: string, next: string) =>
    new UsageError("BAD_SOURCE", { what: `${redactUrl(text)}: not an archive's URL`, why, next });
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw refuse("it is no URL", "give an http(s) URL");
  }
  if (url.hash) {
    throw refuse(
      `it ends in ${url.hash}, and the hash of an archive is not checked: only the wanted parts of it are fetched`,
      "leave the part from # on away; each package is checked against the archive's own checksum",
    );
  }
  return url.toString();
}

async function localPlace(path: string): Promise<{ place: Place; whole: string }> {
  const told = (why: string, next: string, cause?: unknown) => ({ what: `${path}: can't be read`, why, next, cause });
  try {
    const whole = await realpath(path);
    const s = await stat(whole);
    if (s.isDirectory())
      throw new SourceError(
        "UNREADABLE",
        told(
          "it is a folder",
          "take the packages below it with --src-type local, or name the archives in it one by one",
        ),
      );
    if (!s.isFile()) throw new SourceError("UNREADABLE", told("it is no regular file", "check the path"));
    const inside = relative(process.cwd(), resolve(path));
    const origin = inside.startsWith("..") ? resolve(path) : inside.split(sep).join("/");
    return { place: { origin: origin || basename(path), address: { path: whole }, open: openFile(whole) }, whole };
  } catch (e) {
    if (e instanceof SourceError) throw e;
    const { code, message } = e as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR")
      throw new SourceError("NOT_FOUND", {
        what: `${path}: no such archive`,
        why: `${resolve(path)} does not exist`,
        next: "check the path",
      });
    throw new SourceError("UNREADABLE", told(message, "check its permissions", e));
  }
}
