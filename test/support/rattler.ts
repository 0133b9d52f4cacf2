import { asked } from "./client.ts";
import { temporary } from "./folders.ts";

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
  return installedFor("linux-64", channel, format, ...specs);
}

/** The same for another platform. */
export async function installedFor(
  platform: string,
  channel: string,
  format: string,
  ...specs: string[]
): Promise<{ readonly prefix: string; readonly packages: readonly string[][] }> {
  let prefix = "";
  const stdout = await asked("rattler_client.py", () => {
    prefix = temporary();
    return [channel, platform, format, prefix, ...specs];
  });
  return { prefix, packages: JSON.parse(stdout) as string[][] };
}
