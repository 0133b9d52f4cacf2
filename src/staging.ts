import { MirrorError, unwritable } from "./errors.ts";
import { living } from "./lost.ts";
import type { Run } from "./run.ts";
import type { Target } from "./target/target.ts";
import { redactUrl } from "./transfer/redact.ts";

/** Where packages wait on their way: a folder of one of the targets, for all of them. */
export interface Staging {
  /** That of the first target that has one: what keeps one from being written to is not to keep packages from the others. */
  folder(): Promise<string>;
  /**
   * Leaves a folder whose disk is full for that of another target. False where there is no other.
   * @param folder what `folder` gave; several packages meet the same full disk.
   */
  leave(folder: string): Promise<boolean>;
}

export function openStaging(run: Pick<Run, "targets" | "lost">): Staging {
  const left = new Set<Target>();
  let current: Promise<{ readonly target: Target; readonly folder: string }> | undefined;
  const first = async () => {
    let failure: unknown;
    for (const target of living(run)) {
      if (left.has(target)) continue;
      try {
        return { target, folder: await target.staging() };
      } catch (e) {
        failure ??=
          e instanceof MirrorError
            ? e
            : unwritable(
                `${redactUrl(target.where)}: packages have no place on their way there`,
                e,
                "name another folder for temporary files with TMPDIR",
              );
      }
    }
    throw failure;
  };
  const now = () => {
    current ??= first();
    return current;
  };
  return {
    folder: async () => (await now()).folder,
    async leave(folder) {
      const { target, folder: there } = await now();
      if (folder !== there) return true;
      left.add(target);
      const before = current;
      current = first();
      try {
        await current;
        return true;
      } catch {
        current = before;
        return false;
      }
    },
  };
}
