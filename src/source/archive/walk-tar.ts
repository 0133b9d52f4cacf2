import { type FileHandle, open } from "node:fs/promises";
import { PackageError, printable } from "../../errors.ts";
import { type TarBody, TarReader } from "../../package/tar.ts";
import { openFile } from "../../transfer/open-file.ts";
import { writeAll } from "../../transfer/spool.ts";
import type { PackageRef } from "../source.ts";
import { type ArchiveFile, localArchive } from "./archive-file.ts";
import { type Link, leadsNowhere, targetOf } from "./links.ts";
import { type Compression, unpacked } from "./unpacked.ts";
import { refusedRef, type Walk } from "./walk.ts";
import type { Nested } from "./walk-zip.ts";

/** A member that was wanted, and where its bytes are; a link has those of the member it leads to. */
interface Found {
  readonly path: string;
  readonly kind: "package" | "archive";
  readonly file?: { readonly path: string; readonly size: number };
  readonly link?: Link;
}

/**
 * The packages of a tar. It has no directory: all of it is read, once, and what is wanted is written to files of this run.
 * Nothing is offered before its end was reached, so that a tar that is cut or hostile offers nothing.
 * @param prefix of every path in it.
 */
export async function* tarMembers(
  file: ArchiveFile,
  compression: Compression,
  prefix: string,
  depth: number,
  walk: Walk,
): AsyncGenerator<PackageRef | Nested> {
  const { options, signal } = walk;
  const { found, files } = await extracted(file, compression, prefix, depth, walk);
  for (const { path, kind, file: own, link } of found) {
    if (signal.aborted) return;
    const origin = `${walk.origin}/${printable(path)}`;
    const target = link && targetOf(link, path, prefix);
    const there = own ?? (target === undefined ? undefined : files.get(target));
    if (kind === "archive") {
      // A link to an archive: that one is looked into under its own name.
      if (own) yield { path, open: async () => localArchive(own.path, own.size, origin, options.retry, signal) };
      continue;
    }
    const fileName = path.slice(path.lastIndexOf("/") + 1);
    const ref = { fileName, origin, key: `${options.key}!/${path}`, member: path };
    if (there) yield { ...ref, size: there.size, address: { path: there.path }, open: openFile(there.path) };
    else yield refusedRef(ref, leadsNowhere(origin, link as Link));
  }
}

async function extracted(
  file: ArchiveFile,
  compression: Compression,
  prefix: string,
  depth: number,
  walk: Walk,
): Promise<{ found: Found[]; files: Map<string, { path: string; size: number }> }> {
  const found: Found[] = [];
  const files = new Map<string, { path: string; size: number }>();
  // The reader takes bytes at once; what has to be written waits until it has seen all of them.
  const jobs: (() => Promise<void>)[] = [];
  let current: FileHandle | undefined;
  let last: string | undefined;
  const write = (kind: Found["kind"], path: string, size: number): TarBody => {
    jobs.push(async () => {
      const at = await walk.scratchPath();
      const written = { path: at, size };
      found.push({ path, kind, file: written });
      files.set(path, written);
      current = await open(at, "wx");
    });
    return {
      chunk: (bytes) => {
        walk.spend(bytes.length);
        jobs.push(() => writeAll(current as FileHandle, bytes));
      },
      end: () =>
        jobs.push(async () => {
          await current?.close();
          current = undefined;
        }),
    };
  };
  const tar = new TarReader(file.origin, {
    wants: () => false,
    collected: () => false,
    member({ kind: is, name, size, link }) {
      last = name;
      if (is === "folder") return undefined;
      const path = prefix + name;
      const kind = walk.sort(path, depth);
      if (!kind) return undefined;
      if (is === "file") return write(kind, path, size);
      jobs.push(async () => void found.push({ path, kind, link: { target: link, kind: is } }));
      return undefined;
    },
  });
  // What was unpacked to a file of this run has been counted.
  const local = file.base.address !== undefined && "path" in file.base.address;
  const onBytes = depth > 0 && local ? () => undefined : walk.counter(file.origin);
  let done = false;
  try {
    for await (const chunk of unpacked(file, compression, walk.signal, onBytes)) {
      walk.signal.throwIfAborted();
      // Behind the tar's end too: the last bytes of a compressed file hold its checksum.
      done = done || tar.push(chunk);
      for (const job of jobs.splice(0)) await job();
    }
    if (!done) tar.end();
  } catch (e) {
    if (!(e instanceof PackageError) || e.code !== "DAMAGED" || last === undefined) throw e;
    const { what, why, next } = e;
    throw new PackageError("DAMAGED", { what, why: `${why}, at its member ${printable(last)}`, next, cause: e });
  } finally {
    await current?.close();
  }
  return { found, files };
}
