import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFileSync, copyFileSync, mkdirSync, renameSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type BuiltPackage, buildConda, buildTarBz2 } from "../../test/packages/builder.ts";
import { temporary, written } from "../../test/support/folders.ts";
import { FileReader, type WholePackage } from "./file-reader.ts";
import type { InfoMember } from "./read.ts";

const WANTED: InfoMember[] = ["info/index.json", "info/paths.json"];

/** Reads one package alone. */
async function readWhole(path: string, fileName: string): Promise<WholePackage> {
  const reader = new FileReader(WANTED);
  reader.add({ path, fileName });
  const read = await reader.next();
  assert.equal(await reader.next(), undefined);
  if (!read || !("whole" in read)) throw read?.error;
  return read.whole;
}

function packages(): BuiltPackage[] {
  const large = { "lib/large.bin": randomBytes(1_200_007) };
  return [
    buildConda({ name: "small-conda" }),
    buildTarBz2({ name: "small-bz2" }),
    buildConda({ name: "large-conda", files: large }),
    buildTarBz2({ name: "large-bz2", files: large }),
  ];
}

test("hashes, size and members of a file, small or large, of either format", async () => {
  const folder = temporary();
  for (const p of packages()) {
    const [path] = written(folder, [p]) as [string];
    const { facts, info } = await readWhole(path, p.fileName);
    assert.deepEqual(facts, { md5: p.md5, sha256: p.sha256, size: p.bytes.length }, p.fileName);
    assert.deepEqual([...info.members.keys()].sort(), WANTED, p.fileName);
  }
});

test("a file that changes while it is read is refused as such, whatever the change made of it", async () => {
  const folder = temporary();
  const changes: Record<string, (path: string) => void> = {
    grows: (path) => appendFileSync(path, "x"),
    shrinks: (path) => truncateSync(path, 20),
    "is emptied": (path) => truncateSync(path, 0),
    "is removed": (path) => unlinkSync(path),
    "is replaced by its copy": (path) => {
      copyFileSync(path, `${path}.new`);
      renameSync(`${path}.new`, path);
    },
  };
  for (const p of packages()) {
    for (const [what, change] of Object.entries(changes)) {
      const [path] = written(folder, [p]) as [string];
      // The first wait inside gives this thread back: the change comes between two reads.
      const reading = readWhole(path, p.fileName);
      change(path);
      await assert.rejects(reading, { name: "PackageError", code: "CHANGED" }, `${p.fileName} ${what}`);
    }
  }
});

test("what is no file, or not there, is refused without waiting for it", async () => {
  const folder = temporary();
  const path = (name: string) => join(folder, name);
  mkdirSync(path("folder-1-0.conda"));
  writeFileSync(path("empty-1-0.conda"), "");
  if (process.platform !== "win32") spawnSync("mkfifo", [path("pipe-1-0.conda")]);
  const unreadable = { name: "PackageError", code: "UNREADABLE" };
  await assert.rejects(readWhole(path("folder-1-0.conda"), "folder-1-0.conda"), unreadable);
  await assert.rejects(readWhole(path("none-1-0.conda"), "none-1-0.conda"), unreadable);
  await assert.rejects(readWhole(path("pipe-1-0.conda"), "pipe-1-0.conda"), unreadable);
  await assert.rejects(readWhole(path("empty-1-0.conda"), "empty-1-0.conda"), { code: "NOT_A_PACKAGE" });
});
