import { type MirrorOptions, type MirrorReport, mirror } from "../../src/main.ts";
import type { BuiltPackage } from "../packages/builder.ts";
import { type FileServer, fileServer } from "../servers/file-server.ts";
import { channelOf, filesOf } from "./channels.ts";

/** A channel upstream that changes, on a server. */
export interface Upstream {
  readonly server: FileServer;
  /** What was asked for since it was last asked about. */
  asked(): string[];
  become(packages: readonly BuiltPackage[], change?: (files: Record<string, Uint8Array>) => void): Promise<void>;
}

export async function upstreamOf(packages: readonly BuiltPackage[], settings = {}): Promise<Upstream> {
  const server = await fileServer({});
  const become: Upstream["become"] = async (now, change = () => undefined) => {
    const files = filesOf(await channelOf(now, settings));
    change(files);
    server.files.clear();
    for (const [path, bytes] of Object.entries(files)) server.files.set(path, bytes);
  };
  await become(packages);
  return {
    server,
    become,
    asked() {
      const paths = server.requests.splice(0).map((r) => r.path);
      return paths.sort();
    },
  };
}

export function runAt(
  now: number,
  options: Partial<MirrorOptions> & { sources: string[]; target: string | string[] },
): Promise<MirrorReport> {
  const clock = { now: () => now, random: () => 0, sleep: async () => undefined };
  return mirror({ env: {}, settings: { retry_attempts: 0 }, clock, ...options });
}
