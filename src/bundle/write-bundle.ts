import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { badBundle } from "./bad-bundle.ts";
import { END, layoutOf, paddingOf } from "./layout.ts";
import type { Manifest } from "./manifest.ts";

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
    const write = async (bytes: Uint8Array) => {
      for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at)).bytesWritten;
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
    await handle.sync();
  } finally {
    await handle.close();
  }
}
