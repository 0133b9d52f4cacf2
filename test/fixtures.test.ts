import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { mirror, readAtBuffer, readPackage } from "../src/main.ts";
import { asked } from "./support/client.ts";
import { listed, repodata, temporary } from "./support/folders.ts";
import { madeRecord } from "./support/made-record.ts";
import { fixtures, needs, python } from "./support/needs.ts";

// The shared fixtures: real packages, and the records that two independent indexers made of them.
const there = needs(join(fixtures, "packages"), "the folder of shared fixtures");

type Records = Record<string, Record<string, unknown>>;

function oracle(name: "rattler" | "conda-index"): Map<string, { subdir: string; record: Record<string, unknown> }> {
  const records = new Map<string, { subdir: string; record: Record<string, unknown> }>();
  for (const subdir of readdirSync(join(fixtures, "expected", name))) {
    const path = join(fixtures, "expected", name, subdir, "repodata.json");
    if (!existsSync(path)) continue;
    const index = JSON.parse(readFileSync(path, "utf8")) as { packages: Records; "packages.conda": Records };
    for (const [fileName, record] of Object.entries({ ...index.packages, ...index["packages.conda"] }))
      records.set(fileName, { subdir, record });
  }
  return records;
}

function packagesBelow(folder: string): string[] {
  return readdirSync(join(fixtures, folder), { recursive: true, encoding: "utf8" })
    .filter((f) => /\.(conda|tar\.bz2)$/.test(f))
    .map((f) => join(fixtures, folder, f));
}

/** Our record of a package file, as it would be indexed in the folder that the oracle put it into. */
async function ours(path: string, subdir: string): Promise<Record<string, unknown>> {
  const bytes = readFileSync(path);
  const fileName = path.split(/[\\/]/).at(-1) as string;
  const facts = { md5: hash("md5", bytes), sha256: hash("sha256", bytes), size: bytes.length };
  const made = await madeRecord(fileName, bytes, facts, subdir);
  return JSON.parse(Buffer.from(made.record).toString()) as Record<string, unknown>;
}

async function compare(
  each: (
    fileName: string,
    our: Record<string, unknown>,
    rattler: Record<string, unknown>,
    condaIndex: Record<string, unknown>,
  ) => void,
): Promise<number> {
  const [rattler, condaIndex] = [oracle("rattler"), oracle("conda-index")];
  let compared = 0;
  for (const path of ["packages", "index-data", "index-hotfix"].flatMap(packagesBelow)) {
    const fileName = path.split(/[\\/]/).at(-1) as string;
    const [r, c] = [rattler.get(fileName), condaIndex.get(fileName)];
    assert.ok(r && c, `${fileName} is in both oracles`);
    each(fileName, await ours(path, c.subdir), r.record, c.record);
    compared++;
  }
  return compared;
}

/** Fields in which the oracles differ, and whom we follow. Everywhere else both agree, and so must we. */
const ORACLES_DIFFER = ["arch", "platform", "run_exports", "depends", "subdir", "preferred_env", "requires"];

test(
  "every field on which rattler and conda-index agree is the same in our record, and we add none",
  there,
  async () => {
    const compared = await compare((fileName, our, r, c) => {
      for (const field of new Set([...Object.keys(our), ...Object.keys(r), ...Object.keys(c)])) {
        const [a, b] = [JSON.stringify(r[field]), JSON.stringify(c[field])];
        if (a === b) assert.equal(JSON.stringify(our[field]), a, `${fileName}: ${field}`);
        else assert.ok(ORACLES_DIFFER.includes(field), `${fileName}: the oracles differ in ${field}`);
      }
    });
    assert.ok(compared >= 54, `${compared} packages`);
  },
);

test(
  "arch and platform are kept as rattler keeps them: they are the package's own words (conda-index drops them)",
  there,
  async () => {
    await compare((fileName, our, r) => {
      for (const field of ["arch", "platform"])
        if (r[field] !== undefined) assert.equal(our[field], r[field], fileName);
    });
  },
);

test(
  "depends, preferred_env and requires stand as index.json has them, as with conda-index (rattler rewrites specs, adds an empty depends, drops unknown keys)",
  there,
  async () => {
    await compare((fileName, our, _, c) => {
      for (const field of ["depends", "preferred_env", "requires"])
        assert.deepEqual(our[field], c[field], `${fileName}: ${field}`);
    });
  },
);

test(
  "run_exports stay out of repodata.json, as with conda-index: CEP 21 has them in shards, CEP 12 in run_exports.json",
  there,
  async () => {
    await compare((fileName, our) => assert.equal(our["run_exports"], undefined, fileName));
  },
);

test(
  'subdir is the folder\'s where index.json has none (rattler writes "unknown", conda-index nothing)',
  there,
  async () => {
    await compare((fileName, our, r, c) => {
      if (c["subdir"] === undefined) assert.deepEqual([our["subdir"], r["subdir"]], ["noarch", "unknown"], fileName);
      else assert.equal(our["subdir"], c["subdir"], fileName);
    });
  },
);

test(
  "every odd file is refused with an error that names it and says why; dotslash-test is accepted",
  there,
  async () => {
    const target = temporary();
    const report = await mirror({ sources: [join(fixtures, "odd")], target, env: {} });
    const odd = readdirSync(join(fixtures, "odd"));
    for (const p of report.packages) {
      if (p.outcome === "failed")
        assert.ok(
          p.error.what.includes(p.fileName) && p.error.why.length > 10 && p.error.next.length > 10,
          p.error.message,
        );
    }
    assert.deepEqual(
      report.packages.filter((p) => p.outcome === "added").map((p) => p.fileName),
      ["dotslash-test-1.0.0-0.conda"],
    );
    assert.equal(report.failed, odd.length - 1);
    // Under a name that a package could have, the content is what they are refused for.
    for (const fileName of odd.filter((f) => !f.startsWith("dotslash"))) {
      const format = fileName.endsWith(".conda") ? "conda" : "tar.bz2";
      await assert.rejects(
        readPackage(`odd-1-0.${format}`, readAtBuffer(readFileSync(join(fixtures, "odd", fileName))), [
          "info/index.json",
        ]),
        { name: "PackageError" },
        fileName,
      );
    }
  },
);

test("the real client solves and installs fixtures from a channel of ours, by the shared client_check", {
  ...needs(python, "py-rattler"),
  ...there,
}, async () => {
  const target = temporary();
  const report = await mirror({
    sources: ["packages", "index-data", "index-hotfix", "channels/zlib-both-formats"].map((f) => join(fixtures, f)),
    target,
    env: {},
  });
  assert.equal(report.failed, 0);
  assert.ok(listed(target, "noarch").length > 30 && repodata(target, "linux-64").info.subdir === "linux-64");
  const check = join(fixtures, "../tools/client_check.py");
  const specs = ["clobber-1", "link-scripts", "empty"];
  const said = await asked(check, () => [
    ...[target, "linux-64", ...specs, "--prefix", temporary(), "--formats", "json,zst"],
  ]);
  assert.match(said, /^json: solved 3 packages, installed 3\nzst: solved 3 packages, installed 3\n$/);
});
