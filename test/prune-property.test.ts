import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import type { ChoiceOptions } from "../src/choose/rules.ts";
import { eachRecord, readRepodata } from "../src/index/repodata.ts";
import { indexChannel, mirror, prune } from "../src/main.ts";
import { type BuiltPackage, buildConda, buildTarBz2 } from "./packages/builder.ts";
import { temporary } from "./support/folders.ts";
import { copyChannel } from "./support/twin.ts";

const DAY = 24 * 60 * 60 * 1000;
const NOW = Date.parse("2026-01-31T00:00:00Z");

/** Every package that a random channel may have. Built once: a channel is a choice among them. */
const pool: { readonly subdir: string; readonly p: BuiltPackage; readonly [fc.toStringMethod]: () => string }[] = [];
for (const [i, name] of ["app", "lib", "py-x"].entries())
  for (const [j, version] of ["1.0", "1.0.1", "1.10", "2.0"].entries())
    for (const subdir of ["noarch", "linux-64", "osx-64"]) {
      const build = (i + j) % 2 ? (subdir === "noarch" ? buildConda : buildTarBz2) : buildConda;
      const p = build({
        name,
        version,
        subdir,
        build: `h${j}_${i}`,
        depends: name === "app" ? [`lib ${j % 2 ? ">=1.0" : `<=${version}`}`] : j === 2 ? ["gtk >=3"] : [],
        files: { f: "x".repeat(200 * j) },
        index: { timestamp: NOW - (3 - j) * 30 * DAY - i * DAY, license: ["MIT", "GPL-3.0-only", "BSD-3-Clause"][i] },
      });
      pool.push({ subdir, p, [fc.toStringMethod]: () => `${subdir}/${p.fileName}` });
    }

/** One file says what the index is: what is hot-fixed in it is not contradicted by another form. */
const settings = {
  write_zst: false,
  write_shards: false,
  write_run_exports: false,
  write_channeldata: false,
  write_html: false,
};

/** A channel of these packages, of which some records are hot-fixed and some names are taken back and left standing. */
async function channelOf(chosen: typeof pool, fixed: ReadonlySet<number>, back: ReadonlySet<number>): Promise<string> {
  const channel = join(temporary(), "channel");
  for (const { subdir, p } of chosen) {
    mkdirSync(join(channel, subdir), { recursive: true });
    writeFileSync(join(channel, subdir, p.fileName), p.bytes);
  }
  mkdirSync(join(channel, "noarch"), { recursive: true });
  await indexChannel({ channel, env: {}, threads: 1, settings });
  for (const subdir of new Set(chosen.map((c) => c.subdir))) {
    const path = join(channel, subdir, "repodata.json");
    const index = JSON.parse(readFileSync(path, "utf8"));
    for (const [i, { p, subdir: its }] of chosen.entries()) {
      if (its !== subdir) continue;
      const map = p.fileName.endsWith(".conda") ? "packages.conda" : "packages";
      const record = index[map][p.fileName];
      if (fixed.has(i)) index[map][p.fileName] = { unknown: [1, "ü"], ...record, license: "Zlib", depends: ["lib"] };
      if (back.has(i)) index.removed.push(p.fileName);
    }
    writeFileSync(path, JSON.stringify(index));
  }
  return channel;
}

/** The records of a channel, as they stand there. */
function records(channel: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const subdir of ["noarch", "linux-64", "osx-64"]) {
    let bytes: Buffer;
    try {
      bytes = readFileSync(join(channel, subdir, "repodata.json"));
    } catch {
      continue;
    }
    for (const { fileName, record } of eachRecord(readRepodata(bytes)))
      found[`${subdir}/${fileName}`] = Buffer.from(record).toString();
  }
  return found;
}

const spec = fc.constantFrom(
  "app",
  "lib >=1.0.1",
  "*[license=MIT]",
  "py-*",
  "*[build=h2*]",
  "lib[subdir=osx-64]",
  "* 2.*",
  "none",
);
const rule = fc.oneof<fc.Arbitrary<ChoiceOptions>[]>(
  fc.array(spec, { minLength: 1, maxLength: 3 }).map((include) => ({ include })),
  fc.array(spec, { minLength: 1, maxLength: 2 }).map((exclude) => ({ exclude })),
  fc.constantFrom({ latest: 1 }, { latest: 2 }, { latest: 1, latestPer: "minor" as const }),
  fc.constantFrom({ since: "2025-12-01" }, { minAge: "40d" }),
  fc.constantFrom(
    { maxSize: "900" },
    { allowLicenses: ["MIT", "Z*"] },
    { blockLicenses: ["GPL*"] },
    { blockDependencies: ["gtk", "none"] },
  ),
);
const rules = fc.array(rule, { minLength: 1, maxLength: 3 }).map((all): ChoiceOptions => Object.assign({}, ...all));

/** Whether a record depends on what no channel here has. */
const needsGtk = (record = "{}") => (JSON.parse(record) as { depends?: string[] }).depends?.includes("gtk >=3");

const clock = { now: () => NOW, random: () => 0, sleep: async () => undefined };

for (const withDeps of [false, true])
  test(`property: what prune leaves is what mirror takes by the same rules${withDeps ? ", with what it needs" : ""}`, async () => {
    let [kept, gone] = [0, 0];
    await fc.assert(
      fc.asyncProperty(
        fc.subarray(pool, { minLength: 1 }),
        fc.uniqueArray(fc.nat(12), { maxLength: 4 }),
        fc.uniqueArray(fc.nat(30), { maxLength: 2 }),
        rules,
        fc.constantFrom(undefined, undefined, ["linux-64"], ["noarch", "osx-64"]),
        async (chosen, fixed, back, choice, only) => {
          const channel = await channelOf(chosen, new Set(fixed), new Set(back));
          const before = records(channel);
          const subdirs =
            only && !withDeps ? only.filter((s) => s === "noarch" || chosen.some((c) => c.subdir === s)) : [];
          const narrowed = subdirs.length > 0 ? { subdirs } : {};
          const target = temporary();
          const deps = withDeps ? { withDeps: true as const } : {};
          const mirrored = await mirror({
            sources: [copyChannel(channel, join(temporary(), "channel"))],
            sourceType: "channel",
            target,
            env: {},
            clock,
            settings: { ...settings, retry_attempts: 0 },
            ...choice,
            ...narrowed,
            ...deps,
          });
          // What can't be had in the channel at all prune leaves to another one.
          if (withDeps && mirrored.failed > 0) return;
          await prune({
            channel,
            env: {},
            now: () => NOW,
            settings,
            maxDelete: "100%",
            ...choice,
            ...narrowed,
            ...deps,
          });
          const after = records(channel);
          const isLookedAt = (path: string) => subdirs.length === 0 || subdirs.some((s) => path.startsWith(`${s}/`));
          const inside = Object.fromEntries(Object.entries(after).filter(([path]) => isLookedAt(path)));
          const taken = records(target);
          // Where one platform has all that a noarch package needs, and another one only with gtk from elsewhere, both stay.
          const more = Object.keys(inside).filter((path) => taken[path] === undefined);
          if (withDeps) for (const path of more) if (needsGtk(inside[path])) delete inside[path];
          assert.deepEqual(inside, taken);
          for (const [path, record] of Object.entries(before)) if (!isLookedAt(path)) assert.equal(after[path], record);
          kept += Object.keys(after).length;
          gone += Object.keys(before).length - Object.keys(after).length;
        },
      ),
      { numRuns: withDeps ? 15 : 25 },
    );
    assert.ok(kept > 5 && gone > 5, `${kept} kept, ${gone} gone`);
  });
