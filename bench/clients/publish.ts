import { readFileSync } from "node:fs";
import type { Addition } from "../../src/target/subdir-job.ts";

// What is measured is the build: from source, node's removal of types would be part of it.
const room = (path: string) => import(new URL(`../../dist/${path}.js`, import.meta.url).href);
const { DEFAULTS } = (await room("config/defaults")) as typeof import("../../src/config/defaults.ts");
const { indexFilesOf } = (await room("config/index-files")) as typeof import("../../src/config/index-files.ts");
const { publish } = (await room("target/channel")) as typeof import("../../src/target/channel.ts");
const { findPresent } = (await room("target/find-present")) as typeof import("../../src/target/find-present.ts");
const { openFolder } = (await room("target/folder")) as typeof import("../../src/target/folder.ts");

/**
 * What a mirror does to a channel's index, by itself: publish.ts FOLDER SUBDIR CHANGE.json [all]. Looks for the files of the
 * change as a mirror does, publishes it, and prints the milliseconds that took and the files written.
 */
const [folder, subdir, changeFile, all] = process.argv.slice(2) as [string, string, string, string | undefined];
const change = JSON.parse(readFileSync(changeFile, "utf8")) as {
  add: [fileName: string, record: { sha256: string }][];
  remove: string[];
};
const additions: Addition[] = change.add.map(([fileName, record]) => ({
  subdir,
  fileName,
  record: Buffer.from(JSON.stringify(record)),
  sha256: record.sha256,
}));
const files = { ...indexFilesOf(DEFAULTS), currentRepodata: all === "all", runExports: all === "all" };
const began = performance.now();
const store = await openFolder(folder);
const signal = new AbortController().signal;
const present = await findPresent(store, new Set(additions.map((a) => a.fileName)), signal);
const isThere = (a: Addition) => present.get(a.fileName)?.some((p) => p.recorded?.sha256 === a.sha256);
const wish = { additions: additions.filter((a) => !isThere(a)), remove: new Set(change.remove) };
const published = await publish(store, new Map([[subdir, wish]]), { files, warn: console.error, now: Date.now() });
await store.close();
const written = published.flatMap((p) => p.written);
process.stdout.write(JSON.stringify({ milliseconds: performance.now() - began, written }));
