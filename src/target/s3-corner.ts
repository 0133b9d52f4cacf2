import { hash } from "node:crypto";
import { join } from "node:path";
import { unwritable } from "../errors.ts";
import { makeFolder } from "../make-folder.ts";

/**
 * A folder of this machine for what belongs to a channel elsewhere: below the user's cache folder, one for each channel.
 * Undefined where the environment names no home.
 * @param channel names the channel among all: server, bucket and prefix.
 * @param kind of the store: a folder for each.
 */
export async function cornerOf(env: NodeJS.ProcessEnv, channel: string, kind = "s3"): Promise<string | undefined> {
  const home = env["HOME"] || env["USERPROFILE"];
  const caches =
    env["XDG_CACHE_HOME"] ||
    (process.platform === "win32" && env["LOCALAPPDATA"]) ||
    (home && join(home, process.platform === "darwin" ? "Library/Caches" : ".cache"));
  if (!caches) return undefined;
  const folder = join(caches, "meso-forge-mirror", kind, hash("sha256", channel).slice(0, 32));
  await makeFolder(folder, 0o700).catch((e) => {
    throw unwritable(`${folder}: notes on the channel can't be kept`, e, "name another place with XDG_CACHE_HOME");
  });
  return folder;
}
