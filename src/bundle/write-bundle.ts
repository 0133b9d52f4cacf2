import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { open } from "node:fs/promises";
import { END, paddingOf } from "../codec/tar-header.ts";
import { badBundle } from "./bad-bundle.ts";
import { layoutOf } from "./layout.ts";
import type { Manifest } from "./manifest.ts";

const BUFFER = 1024 * 1024;

/** Gives the content of a member, in portions that are used before the next is asked for. */
export type ContentOf = (path: string) => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/**
 * Writes a bundle to a file that is not there yet, and sees it safe on the disk. Each member's content is held against the
 * manifest on its way: a bundle that is written can be read.
 * @throws SourceError BAD_BUNDLE when a content differs from what the manifest says
 */
export async function writeBundle(file: string, manifest: Manifest, contentOf: ContentOf): Promise<void> {
  const handle = await open(file, "wx");
  try {
    // Written in large parts: three trips through the thread pool a member take longer than the bytes do.
    const buffer = Buffer.allocUnsafeSlow(BUFFER);
    let fill = 0;
    const flush = async () => {
      for (let at = 0; at < fill; ) at += (await handle.write(buffer, at, fill - at)).bytesWritten;
      fill = 0;
    };
    const write = async (bytes: Uint8Array) => {
      for (let at = 0; at < bytes.length; ) {
        const n = Math.min(BUFFER - fill, bytes.length - at);
        buffer.set(bytes.subarray(at, at + n), fill);
        fill += n;
        at += n;
        if (fill === BUFFER) await flush();
      }
    };
    const { members } = layoutOf(manifest);
    for (const { path, header, size, sha256 } of members) {
      await write(header);
      const digest = createHash("sha256");
      let got = 0;
      for await (const portion of contentOf(path)) {
        got += portion.length;
        if (got > size) break;
        digest.update(portion);
        await write(portion);
      }
      if (got !== size || digest.digest("hex") !== sha256)
        throw badBundle(file, `${path} changed while the bundle was written`);
      await write(Buffer.alloc(paddingOf(size)));
    }
    await write(END);
    await flush();
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Gives parts of files in portions, of one buffer: each is to be used before the next is asked for, and one file before
 * the next. They are read synchronously, since most are small and come in thousands; a buffer for each would stay until
 * the next garbage collection, hundreds of megabytes later.
 */
export function fileReader(): (
  path: string,
  part: { readonly start: number; readonly size: number },
) => Iterable<Uint8Array> {
  const portion = Buffer.allocUnsafeSlow(BUFFER);
  return function* read(path, { start, size }) {
    const fd = openSync(path, "r");
    try {
      for (let got = 0; got < size; ) {
        const n = readSync(fd, portion, 0, Math.min(BUFFER, size - got), start + got);
        if (n === 0) return;
        yield portion.subarray(0, n);
        got += n;
      }
    } finally {
      closeSync(fd);
    }
  };
}
