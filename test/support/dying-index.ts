import fs from "node:fs";
import promises, { type FileHandle } from "node:fs/promises";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { isAbsolute, relative } from "node:path";

/**
 * Indexes a channel and dies, as by SIGKILL, right before its n-th change of the disk: every call of the file system and
 * of the two databases that changes something counts, and a write is cut in half. What lies between two changes leaves the
 * disk as the earlier one left it, so these are all moments there are.
 *
 *     dying-index.ts CHANNEL N     N = 0: lives, and prints all its changes as JSON, in order
 *
 * Worker threads only read packages, and are left alone.
 */
const [channel = "", at = "0"] = process.argv.slice(2);
const moment = Number(at);
const changes: string[] = [];

function die(): void {
  process.kill(process.pid, "SIGKILL");
}

/** Notes a change; dies when it is the one. */
function before(what: string): void {
  changes.push(what);
  if (changes.length === moment) die();
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
  if (changes.length + 1 === moment) writeSync(fd, bytes, offset, (bytes.length - offset) >> 1);
  before("write half a file");
  return writeSync(fd, bytes, offset);
}) as unknown as typeof writeSync;

const some = await promises.open(process.execPath, "r");
const handles = Object.getPrototypeOf(some) as FileHandle;
await some.close();
const { write } = handles as unknown as { write(bytes: Uint8Array, at: number, n: number): Promise<unknown> };
(handles as unknown as Calls)["write"] = async function (this: unknown, bytes: Uint8Array, from: number, n: number) {
  if (changes.length + 1 === moment) await write.call(this, bytes, from, n >> 1);
  before("write half a file");
  return write.call(this, bytes, from, n);
} as Call;
syncBuiltinESMExports();

const { DatabaseSync, StatementSync } = createRequire(import.meta.url)("node:sqlite") as typeof import("node:sqlite");
watch(DatabaseSync.prototype, ["exec"], (args) => String(args[0]).trim().slice(0, 30));
watch(StatementSync.prototype, ["run"], () => "row");
watch(DatabaseSync.prototype, ["close"], () => "database");

const { indexChannel } = await import("../../src/index-channel.ts");
await indexChannel({ channel, env: {}, threads: 1 });
before("exit");
if (moment === 0) process.stdout.write(JSON.stringify(changes));
