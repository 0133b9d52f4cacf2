import { lstatSync } from "node:fs";
import { join } from "node:path";
import type { Store } from "./store.ts";

/** Whether a link lies where no file is: what it leads to may be on a disk that is not mounted, and is not known to be gone. */
export function isDeadLink({ folder }: Store, path: string): boolean {
  if (folder === undefined) return false;
  return lstatSync(join(folder, path), { throwIfNoEntry: false })?.isSymbolicLink() === true;
}
