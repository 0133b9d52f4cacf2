import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { temporary } from "./folders.ts";
import { python } from "./needs.ts";

const client = new URL("../clients/rattler_client.py", import.meta.url).pathname;

/**
 * Has rattler solve for linux-64 and install, by one format of the index alone (json, zst, bz2, shards).
 * @param channel a URL or a folder
 * @returns where it installed, and what: name, version, build and subdir of each package, in order.
 */
export async function installed(
  channel: string,
  format: string,
  ...specs: string[]
): Promise<{ readonly prefix: string; readonly packages: readonly string[][] }> {
  const prefix = temporary();
  const { stdout } = await promisify(execFile)(python, [client, channel, "linux-64", format, prefix, ...specs]);
  return { prefix, packages: JSON.parse(stdout) as string[][] };
}
