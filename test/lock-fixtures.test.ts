import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import type { SourceError } from "../src/errors.ts";
import type { LockedPackage } from "../src/lock/lock-file.ts";
import { readLock } from "../src/lock/read-lock.ts";
import { fixtures, needs } from "./support/needs.ts";

interface Expected {
  readonly error?: string;
  readonly environments?: Record<
    string,
    Record<string, { kind: string; location: string; md5: string | null; sha256: string | null }[]>
  >;
}

const folder = join(fixtures, "lockfiles");
const lineOf = (p: { location: string; sha256?: string | null; md5?: string | null }) =>
  `${p.location} ${p.sha256 ?? "-"} ${p.md5 ?? "-"}`;
const lines = (packages: readonly Parameters<typeof lineOf>[0][]) => [...new Set(packages.map(lineOf))].sort();

test(
  "every lock file of the fixtures gives the environments, platforms, URLs and hashes that rattler reads, or the reason",
  needs(folder, "the fixtures"),
  async () => {
    const expected = JSON.parse(readFileSync(join(fixtures, "expected/lockfiles/rattler.json"), "utf8")) as Record<
      string,
      Expected
    >;
    const files = globSync("**/*.yml", { cwd: folder }).map((f) => f.replaceAll("\\", "/"));
    assert.deepEqual(files.sort(), Object.keys(expected).sort());
    let packages = 0;
    for (const file of files) {
      const text = readFileSync(join(folder, file), "utf8");
      const { error, environments = {} } = expected[file] as Expected;
      if (error !== undefined) {
        await assert.rejects(readLock(text, file), (e: SourceError) => {
          assert.equal(e.code, "BAD_LOCK");
          return /1000.*7/.test(e.why) && /newer.*1000.*7/.test(error);
        });
        continue;
      }
      const read = await readLock(text, file);
      const names = [...new Set(read.environments.map((e) => e.name))];
      assert.deepEqual(names.sort(), Object.keys(environments).sort(), file);
      for (const [name, platforms] of Object.entries(environments)) {
        const own = read.environments.filter((e) => e.name === name && e.platform !== undefined);
        assert.deepEqual(own.map((e) => e.platform).sort(), Object.keys(platforms).sort(), `${file} ${name}`);
        for (const [platform, listed] of Object.entries(platforms)) {
          const environment = own.find((e) => e.platform === platform);
          const binary = listed.filter((p) => p.kind === "CondaLockedBinaryPackage");
          assert.deepEqual(lines(environment?.packages ?? []), lines(binary), `${file} ${name} ${platform}`);
          const others = new Set(listed.filter((p) => !binary.includes(p)).map((p) => p.kind));
          const kinds = { PypiLockedPackage: "pypi", CondaLockedSourcePackage: "source" };
          assert.deepEqual(
            new Set(environment?.skipped.map((s) => s.kind)),
            new Set([...others].map((k) => kinds[k as keyof typeof kinds])),
            `${file} ${name} ${platform}`,
          );
          packages += binary.length;
        }
      }
    }
    assert.equal(packages, 6837);
  },
);

test(
  "@EXPLICIT files of the fixtures give the URLs and hashes written in them",
  needs(join(fixtures, "explicit"), "the fixtures"),
  async () => {
    const counts: Record<string, number> = {};
    for (const file of globSync("*.txt", { cwd: join(fixtures, "explicit") })) {
      const text = readFileSync(join(fixtures, "explicit", file), "utf8");
      const { environments } = await readLock(text, file);
      const [environment] = environments;
      const packages = environment?.packages as readonly LockedPackage[];
      const written = [...text.matchAll(/^(https:[^\s#]+)(?:#([0-9a-f]{32}))?$/gm)];
      const expected = written.map(([, location, md5]) => lineOf({ location: location as string, md5: md5 ?? null }));
      assert.deepEqual(packages.map(lineOf), expected, file);
      assert.equal(environment?.platform, /_([^_]+)\.txt$/.exec(file)?.[1], file);
      counts[basename(file)] = packages.length;
    }
    assert.deepEqual(counts, {
      "ros-noetic_linux-64.txt": 568,
      "vs2015_runtime_win-64.txt": 2,
      "xtensor_linux-64.txt": 7,
    });
  },
);
