import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { globSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { unpack } from "../src/unpack/unpack.ts";
import { buildConda, buildTarBz2, pax, type TarEntry } from "./packages/builder.ts";
import { temporary } from "./support/folders.ts";
import { fixtures, needs, python } from "./support/needs.ts";
import { treeOf } from "./support/tree.ts";

const run = promisify(execFile);
const EXTRACT = "import sys; from rattler.package_streaming import extract; extract(sys.argv[1], sys.argv[2])";

async function sameAsRattler(archive: string): Promise<void> {
  const around = temporary();
  await unpack(archive, basename(archive), join(around, "ours"));
  await run(python, ["-c", EXTRACT, archive, join(around, "theirs")]);
  assert.deepEqual(treeOf(join(around, "ours")), treeOf(join(around, "theirs")), archive);
}

test("a package unpacks to the tree that rattler makes of it", needs(python, "py-rattler"), async () => {
  const source = temporary();
  const payload: TarEntry[] = [
    { name: "bin/run", content: "#!/bin/sh\n", mode: 0o755, mtime: 1_600_000_000 },
    { name: "bin/run-too", type: "1", link: "bin/run", mtime: 1_600_000_000 },
    { name: "bin/r", type: "2", link: "run" },
    { name: "bin/r-too", type: "1", link: "bin/r" },
    { name: "out", type: "2", link: "/etc/hostname" },
    { name: "gone", type: "2", link: "../../nowhere" },
    { name: "closed/", type: "5", mode: 0o700 },
    { name: "odd/a", content: "x", mode: 0o4751, mtime: 5 },
    { name: "odd/b", content: "x", mode: 0o444 },
    { name: "odd/c", content: "x", mode: 0o666 },
    pax({ path: `long/${"n".repeat(150)}/höhe` }),
    { name: "long", content: "ä" },
    { name: "././@LongLink", type: "L", content: `gnu/${"g".repeat(200)}\0` },
    { name: "gnu", content: "" },
    { name: "./dot/./slash", content: "x" },
  ];
  for (const p of [buildConda({ name: "p", payload }), buildTarBz2({ name: "p", payload })]) {
    writeFileSync(join(source, p.fileName), p.bytes);
    await sameAsRattler(join(source, p.fileName));
  }
});

test(
  "every shared fixture unpacks to the tree that rattler makes of it",
  needs(fixtures, "shared fixtures"),
  async () => {
    needs(python, "py-rattler");
    const packages = globSync("packages/*.{conda,tar.bz2}", { cwd: fixtures });
    assert.ok(packages.length >= 40);
    for (const p of packages) await sameAsRattler(join(fixtures, p));
  },
);
