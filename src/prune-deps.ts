import { chooseFile, chooseRecords } from "./choose/choose-index.ts";
import type { Rules } from "./choose/rules.ts";
import { isUsable, type NeededFiles, neededFrom, type OpenedSubdir, readerOf, rootsIn } from "./needed-from.ts";
import { readIndex } from "./target/read-index.ts";
import type { Store } from "./target/store.ts";

/**
 * What the packages of a channel need that stay, as far as the channel has it. Packages of subdirs that are not looked at stay all.
 * @param subdirs those that the rules are for.
 */
export function neededInChannel(
  store: Store,
  all: readonly string[],
  subdirs: readonly string[],
  rules: Rules,
  signal: AbortSignal,
): Promise<NeededFiles> {
  const open = async (subdir: string): Promise<OpenedSubdir> => {
    const { index } = await readIndex(store, subdir, signal);
    const where = { channel: store.where, subdir };
    const removed = new Set(index.removed);
    const isOffered = (fileName: string) => !removed.has(fileName);
    const { chosen } = chooseRecords(index, where, subdirs.includes(subdir) ? rules : undefined);
    for (const fileName of removed) chooseFile(index, chosen, fileName, 0);
    const read = readerOf(index, subdir, isOffered);
    const byName = async (name: string) => read(name).filter((one) => isUsable(one, where, rules));
    return { roots: rootsIn(index, subdir, chosen, isOffered), byName, incomplete: false };
  };
  return neededFrom({ subdirs: all, open, elsewhere: true, concurrency: 1, signal }, []);
}
