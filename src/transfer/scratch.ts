import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder for what a run needs while it runs: made when it is first asked for, removed with all that is in it. */
export interface Scratch {
  readonly folder: () => Promise<string>;
  remove(): Promise<void>;
}

/** @param beside where it is made; default: where the system wants such things (TMPDIR). */
export function scratchFolder(beside: () => Promise<string> = async () => tmpdir()): Scratch {
  let made: Promise<string> | undefined;
  return {
    folder() {
      made ??= beside().then((folder) => mkdtemp(join(folder, "mfm-scratch-")));
      return made;
    },
    async remove() {
      if (!made) return;
      const folder = await made.catch(() => undefined);
      made = undefined;
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}
