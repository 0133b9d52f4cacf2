import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { asText } from "../conda/as-text.ts";
import { parseMatchSpec, type Whereabouts } from "../conda/match-spec.ts";
import { loadVersions } from "../conda/version.ts";
import { versionParts } from "../conda/version-prefix.ts";
import { eachRecord, RECORD_MAPS, type RecordMap, readRepodata } from "../index/repodata.ts";
import { chooseRecords } from "./choose-index.ts";
import { RecordReader } from "./record-reader.ts";
import { type ChoiceOptions, limitOf, oldEnoughAt, type Rules, readRules, rulesFor } from "./rules.ts";
import { Spellings } from "./spellings.ts";

const NOW = Date.parse("2026-01-31T00:00:00Z");
const DAY = 86_400_000;

type Fields = Record<string, unknown>;

function seriesOf(text: string): string {
  const { epoch, release } = versionParts(text);
  return JSON.stringify([epoch, (release[0] ?? ["0"]).join(""), (release[1] ?? ["0"]).join("")]);
}

/** Choosing in the plainest way: every record parsed, every spec asked as a whole, versions sorted. */
function plainly(index: ReturnType<typeof readRepodata>, where: Whereabouts, rules: Rules) {
  const { include, exclude, latest, versions } = rules;
  const fitting: { key: string; name: string; version: string }[] = [];
  const waiting = new Map<string, number>();
  for (const { map, fileName, record } of eachRecord(index)) {
    const fields = JSON.parse(Buffer.from(record).toString()) as Fields;
    if (typeof fields["name"] !== "string") continue;
    const name = fields["name"].toLowerCase();
    const at = { ...where, fileName };
    const isWanted =
      (include.length === 0 || include.some((spec) => spec.matches(fields, at))) &&
      !exclude.some((spec) => spec.matches(fields, at));
    if (isWanted && limitOf(fields, rules) === undefined)
      fitting.push({ key: `${map} ${fileName}`, name, version: asText(fields["version"]) });
    const old = oldEnoughAt(fields, at, rulesFor(name, rules), rules);
    if (old !== undefined) waiting.set(name, Math.min(old, waiting.get(name) ?? old));
  }
  const isNewest = ({ name, version }: { name: string; version: string }) => {
    if (!latest) return true;
    const series = (v: string) => (latest.per === "minor" ? seriesOf(v) : "");
    const alike = fitting.filter((f) => f.name === name && series(f.version) === series(version));
    const above = alike.map((f) => f.version).filter((v) => versions.compare(v, version) > 0);
    const distinct = above.filter((v, i) => above.findIndex((w) => versions.compare(v, w) === 0) === i);
    return distinct.length < latest.count;
  };
  return { chosen: fitting.filter(isNewest).map(({ key }) => key), waiting };
}

const name = fc.constantFrom("python", "Python", "numpy", "numpy-base", "py-x", "é-k", "K", "x", 'q"t', "ruby");
const version = fc.constantFrom(
  "1.0",
  "1.0.0",
  "01.0",
  "1.1",
  "1.10",
  "1.2.3.4",
  "2!0.1",
  "1.1a1",
  "3.11.9",
  "2024.1.2",
  "x y",
);
const depend = fc.constantFrom(
  "python >=3.11",
  "python",
  "GTK-x 1",
  "gtk-y[build=a]",
  "conda-forge::gtk-z >=1",
  " gtk-w",
  "a>=1::gtk-v",
  "gtk\\-u",
  "libé",
  "numpy*",
  "",
  'q"t',
);
const odd = fc.constantFrom<unknown>(null, 5, "", "MIT", [], ["a", 1], { depends: ["gtk-a"], license: "MIT" }, true);
const usually = (value: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 12, arbitrary: value }, { weight: 1, arbitrary: odd });
const awkward = fc.string({ unit: fc.constantFrom("#", "]", '"', "\\", "}", "a", "é", "\n"), maxLength: 20 });
const record = fc.record(
  {
    about: fc.oneof(awkward, fc.array(awkward, { maxLength: 3 }), fc.dictionary(awkward, awkward, { maxKeys: 2 })),
    build: usually(fc.constantFrom("py311_0", "PY312_1", "h1_0", 'b"\\u', "é_0", "K_0")),
    build_number: usually(fc.nat(3)),
    depends: usually(
      fc.array(fc.oneof({ weight: 9, arbitrary: depend }, { weight: 1, arbitrary: odd }), { maxLength: 4 }),
    ),
    license: usually(fc.constantFrom("MIT", "mit", "GPL-3.0-only", "GPL-2.0-only OR MIT", "  ", "Ünlicence")),
    license_family: usually(fc.constantFrom("GPL", "MIT", "BSD")),
    name: fc.oneof({ weight: 20, arbitrary: name }, { weight: 1, arbitrary: odd }),
    md5: fc.constantFrom("0".repeat(32), "A".repeat(32)),
    size: usually(fc.constantFrom(0, 10, 2000, 1e21, 0.5)),
    subdir: fc.constantFrom("linux-64", "noarch"),
    timestamp: usually(fc.integer({ min: NOW - 3 * DAY, max: NOW })),
    indexed_timestamp: usually(fc.integer({ min: Math.floor((NOW - 3 * DAY) / 1000), max: Math.floor(NOW / 1000) })),
    track_features: usually(fc.constantFrom("a b", "b", ["a"])),
    version: usually(version),
    'x\\"y': fc.constant([1, { "}": "]" }]),
  },
  { requiredKeys: [] },
);

/** A record as text: as JSON.stringify has it, spaced, or with a key twice or escaped. */
const text = fc
  .tuple(record, fc.constantFrom("", "", "spaced", "twice", "escaped"), fc.string())
  .map(([fields, how, last]) => {
    if (how === "spaced") return JSON.stringify(fields, null, 2);
    if (how === "twice" && "license" in fields)
      return `${JSON.stringify(fields).slice(0, -1)},"license":${JSON.stringify(last)}}`;
    if (how === "escaped")
      return JSON.stringify(fields).replace('"license"', '"l\\u0069cense"').replace('"version"', '"v\\u0065rsion"');
    return JSON.stringify(fields);
  });

const indexText = fc
  .array(
    fc.tuple(fc.constantFrom("packages", "packages.conda", "conda"), fc.constantFrom("a", "b", "python", "é"), text),
    { maxLength: 24 },
  )
  .map((all) => {
    const maps: Record<string, string[]> = { packages: [], "packages.conda": [], conda: [] };
    all.forEach(([map, key, value], i) => {
      const file = `${key}-1-${i % 7}${i}${map === "packages" ? ".tar.bz2" : map === "conda" ? "" : ".conda"}`;
      maps[map]?.push(`${JSON.stringify(file)}:${value}`);
    });
    const of = (map: string) => `{${maps[map]?.join(",")}}`;
    return `{"packages":${of("packages")},"packages.conda":${of("packages.conda")},"v3":{"conda":${of("conda")}}}`;
  });

const known = await loadVersions();

function isSpec(given: string): boolean {
  try {
    parseMatchSpec(given, known);
    return true;
  } catch {
    return false;
  }
}

const pattern = fc.constantFrom(
  "python",
  "numpy",
  "*",
  "py*",
  "*y*-*",
  "n?m*",
  "^py.*$",
  "^.*(py|-)[xb].*$",
  "k",
  "ruby",
  "q*",
);
const spec = fc
  .tuple(
    fc.constantFrom("", "", "", "conda-forge::", "other::", "conda-forge/noarch::"),
    pattern,
    fc.constantFrom("", "", " >=1.1", " 1.1.*", " <2,!=1.0", " =1", " *", " ~=1.0.0", " ^1\\..*$", " 2024.*"),
    fc.constantFrom(
      "",
      "",
      "[license=MIT]",
      "[license_family=GPL]",
      "[build=py31*]",
      "[build='^PY.*_[01]$']",
      "[build=k_0]",
      "[build_number='>1']",
      "[subdir=noarch]",
      "[fn='*-1-3*']",
      "[track_features=a]",
      "[md5=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]",
      "[version='>1',license=mit]",
    ),
  )
  .map((parts) => parts.join(""))
  .filter(isSpec);
const limit = fc.oneof<fc.Arbitrary<ChoiceOptions>[]>(
  fc.constant({ since: "2026-01-29" }),
  fc.constantFrom({ minAge: "1d" }, { minAge: "36h" }),
  fc.constantFrom({ maxSize: "10" }, { maxSize: "1KB" }),
  fc.constant({ allowLicenses: ["MIT", "BSD*"] }),
  fc.constantFrom({ blockLicenses: ["GPL*"] }, { blockLicenses: ["^gpl.*$"] }),
  fc
    .constantFrom(["gtk-*"], ["*-?"], ["gtk-z", "python"], ["^a.*$"])
    .map((blockDependencies): ChoiceOptions => ({ blockDependencies })),
);
const options = fc
  .tuple(
    fc.record({
      include: fc.array(spec, { maxLength: 6 }),
      exclude: fc.array(spec, { maxLength: 2 }),
      latest: fc.constantFrom(undefined, undefined, 1, 2),
      latestPer: fc.constantFrom("name", "minor"),
    }),
    fc.array(limit, { maxLength: 2 }),
  )
  .map(([names, limits]): ChoiceOptions => {
    const { latest, ...others } = names as ChoiceOptions;
    return Object.assign(latest === undefined ? others : { ...others, latest }, ...limits);
  });
const whereabouts = fc.constantFrom<Whereabouts>(
  {},
  { subdir: "linux-64" },
  { subdir: "noarch", channel: "https://conda.anaconda.org/conda-forge" },
);

test("property: choosing among bytes gives what asking every parsed record gives", async () => {
  let chosenInAll = 0;
  await fc.assert(
    fc.asyncProperty(indexText, options, whereabouts, async (given, choice, where) => {
      // A buffer that begins anywhere in its memory, as parts of larger ones do.
      const bytes = Buffer.concat([Buffer.from("x".repeat(given.length % 4)), Buffer.from(given)]).subarray(
        given.length % 4,
      );
      const index = readRepodata(bytes);
      const rules = await readRules(choice, NOW);
      if (!rules) return;
      const { chosen, count, waiting } = chooseRecords(index, where, rules);
      const found = RECORD_MAPS.flatMap((map: RecordMap) =>
        [...eachRecord(index, [map])]
          .filter(({ fileName }) => isChosen(index, chosen, map, fileName))
          .map((r) => `${map} ${r.fileName}`),
      );
      const expected = plainly(index, where, rules);
      assert.deepEqual(found.sort(), expected.chosen.sort());
      assert.equal(count, found.length);
      assert.deepEqual(new Map([...waiting].sort()), new Map([...expected.waiting].sort()));
      chosenInAll += count;
    }),
    { numRuns: 2500 },
  );
  assert.ok(chosenInAll > 1000, `${chosenInAll} records were chosen`);
});

function isChosen(
  index: ReturnType<typeof readRepodata>,
  chosen: Readonly<Record<RecordMap, Uint8Array>>,
  map: RecordMap,
  fileName: string,
): boolean {
  const { order } = index.maps[map];
  const at = [...eachRecord(index, [map])].findIndex((r) => r.fileName === fileName);
  return chosen[map][order ? (order[at] as number) : at] === 1;
}

test("property: a reader finds each member where JSON.parse finds it, in whatever order it is asked", () => {
  const keys = ["build", "depends", "license", "license_family", "size", "subdir", "version", "sha256", "name"];
  fc.assert(
    fc.property(
      fc.array(record, { minLength: 1, maxLength: 4 }),
      fc.shuffledSubarray(keys),
      fc.boolean(),
      (all, asked, spaced) => {
        const texts = all.map((fields) => JSON.stringify(fields, null, spaced ? 1 : 0));
        const reader = new RecordReader(Buffer.from(texts.join("")), keys);
        let at = 0;
        for (const one of texts) {
          const fields = JSON.parse(one) as Fields;
          reader.open(at);
          for (const key of asked) assert.deepEqual(reader.value(keys.indexOf(key)), fields[key], `${key} of ${one}`);
          at += Buffer.byteLength(one);
        }
      },
    ),
  );
});

test("spellings have numbers of their own, the same ones each time, until there are too many", () => {
  const texts = Array.from({ length: 140_000 }, (_, i) => `${i}.`);
  const bytes = Buffer.from(texts.join(""));
  const spellings = new Spellings(bytes);
  const numbers = () => {
    let at = 0;
    return texts.map((one) => {
      at += one.length;
      return spellings.numberOf(at - one.length, at);
    });
  };
  const first = numbers();
  assert.deepEqual(
    first.slice(0, 131_072),
    Array.from({ length: 131_072 }, (_, i) => i),
  );
  assert.ok(first.slice(131_072).every((number) => number === -1));
  assert.deepEqual(numbers(), first);
  assert.equal(spellings.numberOf(0, 300), -1, "long ones are not kept");
});
