import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseMatchSpec } from "../src/conda/match-spec.ts";
import { loadVersions } from "../src/conda/version.ts";
import { versionParts } from "../src/conda/version-prefix.ts";
import { fixtures, needs } from "./support/needs.ts";

// What is derived from records, against the shared fixtures: real data and the answers of rattler and conda-index.
const there = needs(join(fixtures, "expected"), "the folder of shared fixtures");

type Records = Record<string, Record<string, unknown>>;

function json<T>(...path: string[]): T {
  return JSON.parse(readFileSync(join(fixtures, ...path), "utf8")) as T;
}

function recordsOf(...path: string[]): Records {
  const index = json<{ packages: Records; "packages.conda": Records }>(...path);
  return { ...index.packages, ...index["packages.conda"] };
}

test("360 specs match exactly the records that py-rattler matches, in two real indexes", there, async () => {
  const versions = await loadVersions();
  interface Case {
    spec: string;
    error?: string;
    matches: number;
    sha256: string;
    first: string[];
  }
  const expected = json<Record<string, Case[]>>("expected/matchspecs.json");
  const indexes: Record<string, Records> = {
    "r_linux-64": recordsOf("repodata/r_linux-64.json"),
    pytorch: recordsOf("channels/pytorch/linux-64/repodata.json"),
  };
  let compared = 0;
  for (const [index, cases] of Object.entries(expected)) {
    for (const { spec, error, ...want } of cases) {
      compared++;
      if (error !== undefined) {
        assert.throws(() => parseMatchSpec(spec, versions), { name: "MatchSpecError" }, spec);
        continue;
      }
      const parsed = parseMatchSpec(spec, versions);
      const found = Object.entries(indexes[index] as Records)
        .filter(([, record]) => parsed.matches(record))
        .map(([fileName]) => fileName)
        .sort();
      const got = { matches: found.length, sha256: hash("sha256", found.join("\n")), first: found.slice(0, 3) };
      assert.deepEqual(got, want, `${index}: ${spec}`);
    }
  }
  assert.equal(compared, 360);
});

test(
  "a spec that names a file matches that file alone once file names are known (rattler's bare records have none, so there it matches all)",
  there,
  async () => {
    const spec = parseMatchSpec('*[fn="*mkl*"]', await loadVersions());
    for (const [fileName, record] of Object.entries(recordsOf("repodata/r_linux-64.json"))) {
      assert.ok(spec.matches(record));
      assert.equal(spec.matches(record, { fileName }), fileName.includes("mkl"), fileName);
    }
  },
);

test("28,000 versions from the wild are all readable, and come apart as conda takes them apart", there, async () => {
  const versions = await loadVersions();
  let compared = 0;
  for (const line of readFileSync(join(fixtures, "parsed_versions.txt"), "utf8").split("\n")) {
    const [, version, parsed] = /^([^#]+?)=(\[\[.*\]\])$/.exec(line) ?? [];
    if (version === undefined || parsed === undefined) continue;
    compared++;
    assert.ok(versions.isVersion(version), version);
    // Python's spelling of lists; conda's inf is "post", its DEV "dev".
    const spelled = parsed
      .replaceAll("'", '"')
      .replace(/\binf\b/g, '"post"')
      .replaceAll("DEV", "dev")
      .replace(/\d{16,}/g, '"$&"');
    const conda = (JSON.parse(spelled) as unknown[][]).map((segment) => segment.map(String));
    const ours = versionParts(version);
    assert.deepEqual([[ours.epoch], ...ours.release], conda, version);
  }
  assert.ok(compared > 28_000, String(compared));
});
