import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { PackageError } from "./errors.ts";
import type { Store } from "./target/store.ts";
import { pool } from "./transfer/pool.ts";

/** Packages that lie on this machine at the same time. */
const BATCH = 64;

export interface Copies {
  /** A folder of this machine. */
  readonly folder: string;
  readonly fileNames: readonly string[];
  readonly failed: readonly { readonly fileName: string; readonly error: PackageError }[];
}

/**
 * Where packages of a subdir can be read: in the store's own folder, or, where it lies elsewhere, in copies that are made a
 * batch at a time and go when the next batch is asked for.
 */
export async function* copiesOf(
  store: Store,
  subdir: string,
  fileNames: readonly string[],
  concurrency: number,
  signal: AbortSignal,
): AsyncGenerator<Copies> {
  if (store.folder !== undefined) {
    yield { folder: join(store.folder, subdir), fileNames, failed: [] };
    return;
  }
  const folder = join(await store.staging(), "read", subdir);
  for (let at = 0; at < fileNames.length && !signal.aborted; at += BATCH) {
    await mkdir(folder, { recursive: true });
    try {
      const there: string[] = [];
      const failed: { fileName: string; error: PackageError }[] = [];
      const fetchOne = async (fileName: string): Promise<void> => {
        try {
          await copy(store, `${subdir}/${fileName}`, join(folder, fileName), signal);
          there.push(fileName);
        } catch (e) {
          if (!signal.aborted) failed.push({ fileName, error: unreadable(`${subdir}/${fileName}`, e as Error) });
        }
      };
      for await (const _ of pool(fileNames.slice(at, at + BATCH), concurrency, fetchOne, signal));
      yield { folder, fileNames: there, failed };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

async function copy(store: Store, path: string, to: string, signal: AbortSignal): Promise<void> {
  const stream = await store.placeOf(path)?.open({}, signal);
  if (!stream || stream === "unchanged") throw new Error("it can't be read where it lies");
  const file = await open(to, "wx");
  try {
    for await (const chunk of stream.chunks) await file.writeFile(chunk);
  } finally {
    await file.close();
  }
}

function unreadable(path: string, e: Error & { readonly why?: string }): PackageError {
  return new PackageError("UNREADABLE", {
    what: `${path}: could not be read`,
    why: e.why ?? e.message,
    next: "its record stays as it is; run index again",
    cause: e,
  });
}
