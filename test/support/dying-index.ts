import fs from "node:fs";
import promises, { type FileHandle } from "node:fs/promises";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { isAbsolute, join, relative } from "node:path";
import { copyChannel } from "./twin.ts";

/**
 * Indexes a channel and dies, as by SIGKILL, right before its n-th change of the disk: every call of the file system and
 * of the two databases that changes something counts, and a write is cut in half. What lies between two changes leaves the
 * disk as the earlier one left it, so these are all moments there are.
 *
 *     dying-index.ts CHANNEL N
 *
 * Or it lives, keeps the channel as it would have left it at each of these moments, as FOLDER/N/channel, and prints all its
 * changes as JSON, in order:
 *
 *     dying-index.ts CHANNEL FOLDER
 *
 * Worker threads only read packages, and are left alone.
 */
const [channel = "", at = ""] = process.argv.slice(2);
const moment = Number(at);
const lives = Number.isNaN(moment);
const changes: string[] = [];
/** What keeping the channel changes does not count. */
let keeping = false;

/** Notes a change; dies when it is the one. */
function before(what: string): void {
  if (keeping) return;
  changes.push(what);
  if (changes.length === moment) process.kill(process.pid, "SIGKILL");
  if (!lives) return;
  keeping = true;
  copyChannel(channel, join(at, String(changes.length), "channel"));
  keeping = false;
}

function nameOf(path: unknown): string {
  const name = isAbsolute(String(path)) ? relative(channel, String(path)) : String(path);
  return name
    .replaceAll("\\", "/")
    .replace(/(\.[0-9a-f]{12}\.tmp|\.meso-forge-mirror\/incoming\/.+)$/, "TEMPORARY")
    .replace(/[0-9a-f]{64}/, "HASH");
}

type Call = (...args: never[]) => unknown;
type Calls = Record<string, Call>;

function watch(holder: unknown, names: readonly string[], named: (args: unknown[]) => string | undefined): void {
  const calls = holder as Calls;
  for (const name of names) {
    const call = calls[name] as Call;
    calls[name] = function (this: unknown, ...args: never[]) {
      const what = named(args);
      if (what !== undefined) before(`${name.replace(/Sync$/, "")} ${what}`);
      return call.apply(this, args);
    };
  }
}

const CHANGES = ["rename", "link", "unlink", "rm", "rmdir", "mkdir", "copyFile"];
// The last path is the one that changes, but for those that have one and options.
const changed = (args: unknown[]) => nameOf(typeof args[1] === "string" ? args[1] : args[0]);
watch(promises, CHANGES, changed);
watch(
  fs,
  CHANGES.map((name) => `${name}Sync`),
  changed,
);
const opened = (args: unknown[]) => (args[1] === undefined || args[1] === "r" ? undefined : nameOf(args[0]));
watch(promises, ["open"], opened);
watch(fs, ["openSync"], opened);

const { writeSync } = fs;
fs.writeSync = ((fd: number, bytes: Uint8Array, offset: number) => {
  const half = writeSync(fd, bytes, offset, (bytes.length - offset) >> 1);
  before("write half a file");
  return half + writeSync(fd, bytes, offset + half);
}) as unknown as typeof writeSync;

const some = await promises.open(process.execPath, "r");
const handles = Object.getPrototypeOf(some) as FileHandle;
await some.close();
type Write = (this: unknown, bytes: Uint8Array, at: number, n: number) => Promise<{ bytesWritten: number }>;
const { write } = handles as unknown as { write: Write };
(handles as unknown as Calls)["write"] = async function (this: unknown, bytes: Uint8Array, from: number, n: number) {
  const half = (await write.call(this, bytes, from, n >> 1)).bytesWritten;
  before("write half a file");
  const rest = await write.call(this, bytes, from + half, n - half);
  return { ...rest, bytesWritten: half + rest.bytesWritten };
} as Call;
syncBuiltinESMExports();

const { DatabaseSync, StatementSync } = createRequire(import.meta.url)("node:sqlite") as typeof import("node:sqlite");
watch(DatabaseSync.prototype, ["exec"], (args) => String(args[0]).trim().slice(0, 30));
watch(StatementSync.prototype, ["run"], () => "row");
watch(DatabaseSync.prototype, ["close"], () => "database");

const { indexChannel } = await import("../../src/index-channel.ts");
await indexChannel({ channel, env: {}, threads: 1 });
before("exit");
if (lives) process.stdout.write(JSON.stringify(changes));
