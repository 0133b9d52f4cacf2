import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { UsageError } from "../errors.ts";
import { eachRecord, RECORD_MAPS, readRepodata } from "../index/repodata.ts";
import { chooseCandidates } from "./choose-candidates.ts";
import { chooseRecords } from "./choose-index.ts";
import { explainRecords, readAsked } from "./explain.ts";
import { fieldsAt, wanting } from "./fields.ts";
import { licenceHolds } from "./licence.ts";
import { bytesOf, dateOf, durationOf } from "./quantities.ts";
import { type ChoiceOptions, type Rules, readRules } from "./rules.ts";

const NOW = Date.parse("2026-01-31T00:00:00Z");
const DAY = 86_400_000;

type Fields = Record<string, unknown>;

function record(name: string, version: string, build: string, more: Fields = {}): [string, Fields] {
  return [
    `${name}-${version}-${build}.conda`,
    { build, build_number: 0, depends: [], name, version, size: 1000, ...more },
  ];
}

const records = [
  record("python", "3.10.1", "0_cpython", { license: "PSF-2.0", timestamp: NOW - 900 * DAY }),
  record("python", "3.11.9", "0_cpython", { license: "PSF-2.0", timestamp: NOW - 400 * DAY }),
  record("python", "3.11.9", "1_pypy", { license: "PSF-2.0", timestamp: (NOW - 390 * DAY) / 1000 }),
  record("python", "3.12.0", "0_cpython", {
    license: "PSF-2.0",
    timestamp: NOW - DAY,
    indexed_timestamp: NOW - 100 * DAY,
  }),
  record("python", "3.12.1", "0_cpython", {
    license: "PSF-2.0",
    timestamp: NOW - 100 * DAY,
    indexed_timestamp: NOW - DAY,
  }),
  record("numpy", "1.26.0", "py311_0", { depends: ["python >=3.11,<3.12.0a0", "libblas"], license: "BSD-3-Clause" }),
  record("numpy", "2.0.0", "py312_0", { depends: ["python >=3.12"], license: "BSD-3-Clause", size: 9_000_000 }),
  record("gpl", "1.0", "0", { license: "GPL-3.0-or-later" }),
  record("either", "1.0", "0", { license: "GPL-3.0-only OR MIT" }),
  record("both", "1.0", "0", { license: "MIT AND (GPL-2.0-only OR LGPL-2.1-only)" }),
  record("bare", "1.0", "0"),
].sort();

const index = readRepodata(Buffer.from(JSON.stringify({ info: {}, "packages.conda": Object.fromEntries(records) })));

async function chosen(options: ChoiceOptions): Promise<string[]> {
  const rules = await readRules(options, NOW);
  const { chosen: byMap, count } = chooseRecords(index, { channel: "conda-forge", subdir: "linux-64" }, rules);
  const names = [...eachRecord(index, ["packages.conda"])].map((r) => r.fileName.replace(/\.conda$/, ""));
  const found = names.filter((_, i) => byMap["packages.conda"][i] === 1);
  assert.equal(count, found.length);
  const candidates = records.map(([fileName, fields]) => ({ subdir: "linux-64", fileName, fields }));
  const alone = chooseCandidates(candidates, { channel: "conda-forge" }, rules).map((c) =>
    c.fileName.replace(/\.conda$/, ""),
  );
  assert.deepEqual(alone.sort(), found.sort(), "packages of no index are chosen by the same rules");
  return found;
}

test("include, exclude and limits choose what they say, exclude beats include", async () => {
  const all = records.map(([f]) => f.replace(/\.conda$/, ""));
  const but = (...names: string[]) => all.filter((f) => !names.some((n) => f.startsWith(n))).sort();
  for (const [options, expected] of [
    [{}, but()],
    [{ include: ["python >=3.12"] }, ["python-3.12.0-0_cpython", "python-3.12.1-0_cpython"]],
    [
      { include: ["python[build=*_cpython]"], exclude: ["python <3.12"] },
      ["python-3.12.0-0_cpython", "python-3.12.1-0_cpython"],
    ],
    [{ include: ["numpy"], exclude: ["*"] }, []],
    [{ include: ["conda-forge::bare", "other::gpl", "*[subdir=osx-64]"] }, ["bare-1.0-0"]],
    [{ include: ["*[license=PSF-2.0]"], latest: 1 }, ["python-3.12.1-0_cpython"]],
    [{ include: ["python"], latest: 2 }, ["python-3.12.0-0_cpython", "python-3.12.1-0_cpython"]],
    [
      { include: ["python"], latest: 1, latestPer: "minor" },
      ["python-3.10.1-0_cpython", "python-3.11.9-0_cpython", "python-3.11.9-1_pypy", "python-3.12.1-0_cpython"],
    ],
    [
      { include: ["python"], minAge: "3d" },
      ["python-3.10.1-0_cpython", "python-3.11.9-0_cpython", "python-3.11.9-1_pypy", "python-3.12.0-0_cpython"],
    ],
    [{ include: ["python"], minAge: "3d", latest: 1 }, ["python-3.12.0-0_cpython"]],
    [
      { include: ["python", "bare"], since: "2025-01-01" },
      ["python-3.11.9-1_pypy", "python-3.12.0-0_cpython", "python-3.12.1-0_cpython"],
    ],
    [{ include: ["numpy"], maxSize: "1MB" }, ["numpy-1.26.0-py311_0"]],
    [{ allowLicenses: ["MIT", "PSF*"], exclude: ["python"] }, ["either-1.0-0"]],
    [{ blockLicenses: ["GPL*"] }, but("gpl")],
    [{ blockLicenses: ["GPL*", "LGPL*"] }, but("gpl", "both")],
    [{ blockDependencies: ["libblas", "python"] }, but("numpy")],
    [{ blockDependencies: ["lib*"] }, but("numpy-1")],
  ] as const)
    assert.deepEqual((await chosen(options as ChoiceOptions)).sort(), [...expected].sort(), JSON.stringify(options));
});

test("the order of rules makes no difference", async () => {
  const specs = ["python", "numpy >=2", "*[license=MIT]", "g*", "python <3.11", "*-1.0"].slice(0, 5);
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray(specs), fc.shuffledSubarray(specs), async (include, exclude) => {
      const there = await chosen({ include, exclude });
      assert.deepEqual(await chosen({ include: [...include].reverse(), exclude: [...exclude].sort() }), there);
    }),
    { numRuns: 50 },
  );
});

test("what is too young tells when it will be old enough", async () => {
  const rules = await readRules({ include: ["python"], exclude: ["numpy"], minAge: "3d" }, NOW);
  assert.deepEqual([...chooseRecords(index, {}, rules).waiting], [["python", NOW + 2 * DAY]]);
});

test("every package can be explained: what takes it, or all that is against it", async () => {
  const rules = await readRules(
    { include: ["python"], exclude: ["python <3.11"], latest: 1, minAge: "3d", maxSize: "10" },
    NOW,
  );
  const explain = async (text: string, r = rules) => explainRecords(index, "linux-64", await readAsked(text), {}, r);
  const [old] = await explain("python-3.10.1-0_cpython.conda");
  assert.deepEqual(
    [old?.taken, old?.why],
    [false, ["--exclude python <3.11 matches it", "it has 1000 bytes, more than 10"]],
  );
  const simple = await readRules({ include: ["python"], latest: 1 }, NOW);
  assert.match(
    (await explain("python 3.12.0", simple))[0]?.why[0] ?? "",
    /3\.12\.0 is not among the 1 newest versions \(3\.12\.1\)/,
  );
  assert.deepEqual((await explain("python 3.12.1", simple))[0], {
    subdir: "linux-64",
    fileName: "python-3.12.1-0_cpython.conda",
    taken: true,
    why: ["--include python matches it"],
  });
  assert.match((await explain("numpy", simple))[0]?.why[0] ?? "", /no --include matches it \(python\)/);
});

test("rules that say nothing are refused with the flag's name", async () => {
  for (const [options, flag] of [
    [{ include: ["a[b"] }, /^--include a\[b/],
    [{ exclude: ["==="] }, /^--exclude/],
    [{ latest: 0 }, /^--latest 0/],
    [{ since: "yesterday" }, /^--since/],
    [{ minAge: "3 days ago" }, /^--min-age/],
    [{ maxSize: "big" }, /^--max-size/],
    [{ blockLicenses: ["^(a$"] }, /^--block-license/],
  ] as const)
    await assert.rejects(readRules(options, NOW), (e) => e instanceof UsageError && flag.test(e.what));
});

test("licence expressions are read as SPDX has them, odd ones as one name", () => {
  const free = (one: string) => /^(?:MIT|BSD)/.test(one);
  for (const [text, expected] of [
    ["MIT", true],
    ["GPL-3.0-only OR MIT", true],
    ["GPL-3.0-only AND MIT", false],
    ["(MIT OR GPL-2.0-only) AND BSD-3-Clause", true],
    ["GPL-3 | MIT", true],
    ["MIT WITH Something", true],
    ["Apache License (== 2.0)", false],
    ["BSD_3_clause + file LICENSE", true],
    ["((((", false],
    ["", false],
  ] as const)
    assert.equal(licenceHolds(text, free), expected, text);
  fc.assert(fc.property(fc.string(), (text) => void licenceHolds(text, free)));
});

test("sizes, lengths of time and dates", () => {
  assert.deepEqual(["200MB", "1 GiB", "2K", "7", "1.5M"].map(bytesOf), [2e8, 2 ** 30, 2048, 7, 1_572_864]);
  assert.deepEqual(["3d", "12h", "P7D", "PT12H", "2w", "90m"].map(durationOf), [
    3 * DAY,
    DAY / 2,
    7 * DAY,
    DAY / 2,
    14 * DAY,
    5_400_000,
  ]);
  assert.deepEqual(
    [dateOf("2025-01-31"), dateOf("2025-01-31T10:00Z"), dateOf("2025-13-01"), dateOf("1")],
    [Date.parse("2025-01-31"), Date.parse("2025-01-31T10:00Z"), undefined, undefined],
  );
  for (const bad of ["", "x", "-1d", "P", "PT", "1y", "MB"])
    assert.deepEqual([bytesOf(bad), durationOf(bad)], [undefined, undefined], bad);
});

test("fields read from bytes are those that JSON.parse gives", () => {
  const keys = ["name", "version", "size", "timestamp", "depends", "track_features"];
  const value = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constant(null),
    fc.array(fc.string()),
    fc.maxSafeNat(),
  );
  const members = fc.dictionary(fc.oneof(fc.constantFrom(...keys), fc.string()), value);
  fc.assert(
    fc.property(members, fc.boolean(), (object, spaced) => {
      const text = Buffer.from(JSON.stringify(object, null, spaced ? 2 : 0));
      const expected = Object.entries(JSON.parse(text.toString()) as Fields).filter(([key]) => keys.includes(key));
      assert.deepEqual({ ...fieldsAt(text, 0, wanting(keys)) }, Object.fromEntries(expected));
    }),
  );
  const escaped = Buffer.from('{"n\\u0061me":"a"}');
  assert.deepEqual(fieldsAt(escaped, 0, wanting(keys)), { name: "a" });
  assert.equal(RECORD_MAPS.length, 4);
});

test("a version that is an object costs no other package", async () => {
  const rules = (await readRules({ latest: 1 }, 0)) as Rules;
  const odd = '{"name":"a","version":{"toString":0,"valueOf":0}}';
  const index = readRepodata(
    Buffer.from(
      `{"packages.conda":{"a-0-0.conda":${odd},"a-1-0.conda":{"name":"a","version":"1"},"a-2-0.conda":${odd}}}`,
    ),
  );
  assert.deepEqual([...chooseRecords(index, {}, rules).chosen["packages.conda"]], [0, 1, 0]);
  const candidates = [...eachRecord(index)].map(({ fileName, record }) => {
    const fields = JSON.parse(Buffer.from(record).toString()) as Fields;
    return { subdir: "noarch", fileName, fields };
  });
  assert.deepEqual(
    chooseCandidates(candidates, {}, rules).map(({ fileName }) => fileName),
    ["a-1-0.conda"],
  );
});

test("a record whose keys hold quotes is chosen by what it says, wherever it stands", async () => {
  const rules = (await readRules({ include: ["a >1"] }, 0)) as Rules;
  const odd = '{"name":"a","version":"2","\\"":"c"}';
  for (const records of [[odd], [odd, '{"name":"a","version":"1"}'], ['{"name":"a","version":"1"}', odd]]) {
    const entries = records.map((record, i) => `"a-1-${i}.conda":${record}`);
    // Nothing with a quote in it follows the last one.
    const index = readRepodata(Buffer.from(`{"packages.conda":{${entries.join(",")}}}`));
    const wanted = records.map((record) => Number(record === odd));
    assert.deepEqual([...chooseRecords(index, {}, rules).chosen["packages.conda"]], wanted);
  }
});
