import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { indexChannel } from "../../src/index-channel.ts";
import { mirror } from "../../src/main.ts";
import type { BuiltPackage } from "../packages/builder.ts";
import { temporary, written } from "./folders.ts";

/** A channel in a folder with these packages, with every index file that `index` writes. */
export async function channelOf(packages: readonly BuiltPackage[], settings = {}): Promise<string> {
  const [source, channel] = [temporary(), temporary()];
  written(source, packages);
  await mirror({ sources: [source], target: channel, env: {}, settings });
  await indexChannel({ channel, env: {}, threads: 1, settings });
  return channel;
}

/** What a server of that folder serves, by path. Our own corner is left out. */
export function filesOf(channel: string): Record<string, Uint8Array> {
  const all = readdirSync(channel, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  const paths = all.map((f) => join(f.parentPath, f.name));
  return Object.fromEntries(
    paths
      .map((p) => [relative(channel, p).replaceAll("\\", "/"), readFileSync(p)] as const)
      .filter(([name]) => !name.startsWith(".meso-forge-mirror")),
  );
}
