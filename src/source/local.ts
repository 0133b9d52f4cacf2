import { glob, opendir, realpath, stat } from "node:fs/promises";
import { basename, join, relative, resolve, sep } from "node:path";
import { formatOf } from "../conda/file-name.ts";
import { pathOf } from "../conda/file-url.ts";
import { SourceError, TransferError } from "../errors.ts";
import { openFile } from "../transfer/open-file.ts";
import type { Place } from "../transfer/place.ts";
import { type PackageRef, SIDECARS, type Source } from "./source.ts";

/**
 * Packages on this machine: one file, every package below a folder, or what a glob matches. Hidden folders are left
 * out, links to folders are not followed. The order is that of the paths.
 * @param spec a path, a `file://` URL or a glob (`builds/**​/*.conda`); a file whose name looks like a glob is taken as it is.
 */
export function localSource(spec: string): Source {
  const path = pathOf(spec);
  return {
    what: path,
    async *packages(signal) {
      for (const file of await filesOf(path)) {
        if (signal.aborted) return;
        yield await refOf(file);
      }
    },
  };
}

async function filesOf(path: string): Promise<string[]> {
  const found = await stat(path).catch((e: NodeJS.ErrnoException) => {
    if (e.code === "ENOENT" || e.code === "ENOTDIR") return undefined;
    throw unreadable(path, e);
  });
  if (found?.isDirectory()) return inFolder(path);
  if (found) return [path];
  if (/[*?[{]/.test(path)) {
    const matches: string[] = [];
    for await (const match of glob(path)) {
      // A link that leads nowhere is passed over, as it is in a folder.
      const there = await stat(match).catch((e: NodeJS.ErrnoException) => {
        if (e.code === "ENOENT" || e.code === "ELOOP") return undefined;
        throw unreadable(match, e);
      });
      if (there?.isDirectory()) for (const inside of await inFolder(match)) matches.push(inside);
      else if (there && formatOf(match)) matches.push(match);
    }
    if (matches.length > 0) return [...new Set(matches)].sort();
    throw new SourceError("NOT_FOUND", {
      what: `${path}: no package matches`,
      why: "the pattern matches no .conda or .tar.bz2 file",
      next: "check the pattern; quote it, so that the shell does not expand it",
    });
  }
  throw new SourceError("NOT_FOUND", {
    what: `${path}: no such file or folder`,
    why: `${resolve(path)} does not exist`,
    next: "check the path; a channel's name or a URL needs its --src-type",
  });
}

async function inFolder(folder: string): Promise<string[]> {
  const files: string[] = [];
  const walk = async (at: string): Promise<void> => {
    let entries: Awaited<ReturnType<typeof opendir>>;
    try {
      entries = await opendir(at);
    } catch (e) {
      throw unreadable(at, e);
    }
    for await (const entry of entries) {
      if (entry.name.startsWith(".")) continue;
      const path = join(at, entry.name);
      if (entry.isDirectory()) await walk(path);
      else if (
        formatOf(entry.name) &&
        (entry.isFile() || (entry.isSymbolicLink() && (await stat(path).catch(() => undefined))?.isFile()))
      )
        files.push(path);
    }
  };
  await walk(folder);
  if (files.length === 0) {
    throw new SourceError("NOT_FOUND", {
      what: `${folder}: no packages`,
      why: "no .conda or .tar.bz2 file lies in it or below it",
      next: "check the folder; archives that hold packages are named one by one",
    });
  }
  return files.sort();
}

async function refOf(path: string): Promise<PackageRef> {
  const whole = await realpath(path).catch((e: unknown) => {
    throw unreadable(path, e);
  });
  const s = await stat(whole);
  const inside = relative(process.cwd(), resolve(path));
  return {
    fileName: basename(path),
    origin: inside.startsWith("..") ? resolve(path) : inside.split(sep).join("/"),
    key: `file:${whole}`,
    size: s.size,
    address: { path: whole },
    open: openFile(whole),
    sidecars: () => SIDECARS.map((suffix) => sidecar(`${whole}${suffix}`)),
  };
}

function sidecar(path: string): Place {
  return {
    origin: path,
    async open(request, signal) {
      const there = await stat(path).catch(() => undefined);
      if (there?.isFile()) return openFile(path)(request, signal);
      const why = "it is not beside the package";
      throw new TransferError("NOT_FOUND", { what: path, why, next: "nothing is amiss" }, { mayPass: false });
    },
  };
}

function unreadable(path: string, e: unknown): SourceError {
  return new SourceError("UNREADABLE", {
    what: `${path}: can't be read`,
    why: (e as Error).message,
    next: "check its permissions",
    cause: e,
  });
}
