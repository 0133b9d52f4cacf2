import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { mirror } from "../src/main.ts";
import { fileServer } from "./servers/file-server.ts";
import { repodata, temporary } from "./support/folders.ts";
import { fixtures, needs } from "./support/needs.ts";

const there = needs(join(fixtures, "packages"), "the folder of shared fixtures");

/** Packs folders as CI systems do: with the writers of Python's library, deflated or not, and one in another. */
const PACK = `
import os, sys, tarfile, zipfile
folders, out = sys.argv[2:], sys.argv[1]
files = [(os.path.join(d, n), os.path.basename(f) + "/" + os.path.relpath(os.path.join(d, n), f)) for f in folders for d, _, names in os.walk(f) for n in sorted(names)]
def pack(name, method):
    with zipfile.ZipFile(os.path.join(out, name), "w", method) as z:
        for path, inside in files: z.write(path, "build_artifacts/" + inside)
pack("stored.zip", zipfile.ZIP_STORED)
pack("deflated.zip", zipfile.ZIP_DEFLATED)
with zipfile.ZipFile(os.path.join(out, "nested.zip"), "w", zipfile.ZIP_DEFLATED) as z: z.write(os.path.join(out, "deflated.zip"), "inner_conda_pkgs.zip")
with tarfile.open(os.path.join(out, "all.tar.gz"), "w:gz") as t:
    for path, inside in files: t.add(path, inside)
`;

/** What a run made of its sources: the index of every subdir, and why what was refused was refused. */
async function outcome(source: string, target: string) {
  const report = await mirror({ sources: [source], target, env: {} });
  const refused = report.packages.flatMap((p) =>
    p.outcome === "failed" ? [[p.fileName, p.error.code, p.error.why] as const] : [],
  );
  const subdirs = readdirSync(target)
    .filter((s) => /^(noarch|\w+-\w+)$/.test(s))
    .sort();
  return { added: report.added, refused: refused.sort(), index: subdirs.map((s) => [s, repodata(target, s)] as const) };
}

test("real packages come out of every kind of archive exactly as they come from their folder, odd ones refused alike", {
  ...there,
}, async () => {
  const out = temporary();
  const folders = ["packages", "odd"].map((f) => join(fixtures, f));
  const packed = spawnSync("python3", ["-c", PACK, out, ...folders], { encoding: "utf8" });
  assert.equal(packed.status, 0, packed.stderr);
  const direct = { sources: folders, target: temporary() };
  const report = await mirror({ ...direct, env: {} });
  const expected = await outcome(join(out, "stored.zip"), temporary());
  assert.ok(expected.added >= 45, String(expected.added));
  assert.deepEqual(
    report.packages.flatMap((p) => (p.outcome === "failed" ? [[p.fileName, p.error.code]] : [])).sort(),
    expected.refused.map(([fileName, code]) => [fileName, code]),
  );
  for (const [subdir, index] of expected.index) assert.deepEqual(index, repodata(direct.target, subdir), subdir);
  const archives = readdirSync(out).sort();
  const server = await fileServer(Object.fromEntries(archives.map((a) => [a, readFileSync(join(out, a))])));
  for (const archive of archives)
    for (const source of [join(out, archive), `${server.url}/${archive}`])
      assert.deepEqual(await outcome(source, temporary()), expected, basename(source));
});
