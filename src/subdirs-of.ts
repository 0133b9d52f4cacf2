import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { formatOf, isSubdir } from "./conda/file-name.ts";
import { isKnownSubdir } from "./conda/subdirs.ts";
import { UsageError } from "./errors.ts";
import { checkAsked, noChannel } from "./open-channel.ts";
import type { Store } from "./target/store.ts";
import { SHARD_INDEX } from "./target/subdir-job.ts";

/**
 * The subdirs of a channel, or those of them that are asked for; folders that look like one and are none, and packages in no
 * subdir, are told of. A folder is a subdir when a client knows its name, or when it has the form of such a name (CEP 26) and holds
 * packages or an index: `conda-forge` has that form, and lies beside channels.
 * @throws UsageError BAD_FLAG for one that is not there, BAD_TARGET for a folder without subdirs that holds packages, or channels
 */
export async function subdirsOf(
  store: Store,
  asked: readonly string[],
  warn: (message: string) => void,
): Promise<string[]> {
  const folders = await store.folders();
  if (store.folder === undefined && folders.length === 0) throw noChannel(store.where, "nothing lies there");
  const there: string[] = [];
  const channels: string[] = [];
  for (const folder of folders.filter((f) => !f.startsWith("."))) {
    if (isKnownSubdir(folder) || asked.includes(folder)) {
      if (isSubdir(folder)) there.push(folder);
      continue;
    }
    const holds = await firstOf(store, folder);
    if (holds && isSubdir(folder)) {
      warn(`${folder}/ has the name of no platform that a client knows`);
      there.push(folder);
    } else if (holds === "package") {
      warn(`${folder}/ holds packages and is left out: it has no subdir's name (noarch or <os>-<arch>)`);
    } else if (store.folder !== undefined && existsSync(join(store.folder, folder, "noarch"))) {
      channels.push(folder);
    }
  }
  if (channels.length > 0) tellOfChannels(store.where, channels, there, warn);
  checkAsked(asked, there);
  if (store.folder !== undefined) await tellOfTop(store.folder, there, warn);
  return asked.length > 0 ? [...new Set(asked)] : there;
}

function tellOfChannels(
  where: string,
  channels: readonly string[],
  there: readonly string[],
  warn: (message: string) => void,
): void {
  if (there.length > 0) {
    for (const folder of channels) warn(`${folder}/ is left out: it seems to be a channel of its own`);
    return;
  }
  throw new UsageError("BAD_TARGET", {
    what: `${where}: no channel`,
    why: `it has no subdirs (noarch or <os>-<arch>); channels seem to lie in it: ${channels.slice(0, 10).join(", ")}`,
    next: "nothing was changed; give the path of one of them",
  });
}

/** What a folder of the store holds that subdirs hold. */
async function firstOf(store: Store, folder: string): Promise<"package" | "index" | undefined> {
  for await (const { path } of store.list(folder)) {
    const fileName = path.slice(folder.length + 1);
    if (formatOf(fileName)) return "package";
    if (/^repodata\.json(?:\.(?:zst|bz2))?$/.test(fileName) || fileName === SHARD_INDEX) return "index";
  }
  return undefined;
}

/** Tells of what lies right in a channel's folder and is in the wrong place there, or leads nowhere. */
async function tellOfTop(folder: string, there: readonly string[], warn: (message: string) => void): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true });
  for (const { name } of entries.filter((e) => e.isSymbolicLink() && isSubdir(e.name)))
    if (!existsSync(join(folder, name))) warn(`${name} is a link that leads nowhere, and is left out`);
  // In a folder above its subdirs, or in a subdir that was taken for the channel.
  if (!entries.some((e) => !e.isDirectory() && formatOf(e.name))) return;
  const left = `packages that lie right in ${folder}`;
  if (there.length > 0) {
    warn(`${left} are left out: they belong into its subdirs (noarch or <os>-<arch>)`);
    return;
  }
  const next = isSubdir(basename(folder))
    ? `it seems to be a subdir: give ${dirname(folder)} instead`
    : "bring them into a channel with mirror, which puts each into its subdir";
  throw new UsageError("BAD_TARGET", {
    what: `${folder}: no channel`,
    why: "packages lie right in it, and it has no subdirs (noarch or <os>-<arch>)",
    next: `nothing was changed; ${next}`,
  });
}
