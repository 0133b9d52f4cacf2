import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { loadVersions } from "../conda/version.ts";
import { channeldata } from "./channeldata.ts";
import { type FactSources, type PackageFacts, packageFacts } from "./package-facts.ts";
import { recipeSource } from "./recipe-source.ts";

const versions = await loadVersions();
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

function facts(index: object, more: Omit<FactSources, "indexJson"> = {}): PackageFacts {
  const made = packageFacts({ indexJson: json({ name: "a", version: "1", subdir: "noarch", ...index }), ...more });
  assert.ok(made);
  return JSON.parse(JSON.stringify(made)) as PackageFacts;
}

function summary(packages: readonly PackageFacts[], name = "a"): Record<string, unknown> {
  const text = Buffer.from(channeldata(packages, ["noarch"], versions)).toString();
  return (JSON.parse(text) as { packages: Record<string, Record<string, unknown>> }).packages[name] ?? {};
}

test("a channel without packages has its subdirs, and ends with a newline", () => {
  assert.equal(
    Buffer.from(channeldata([], ["osx-64", "noarch"], versions)).toString(),
    '{"channeldata_version":1,"packages":{},"subdirs":["noarch","osx-64"]}\n',
  );
});

test("a field is the newest package's that has it: by version, then by time", () => {
  const about = (home: string, more: object = {}) => ({ aboutJson: json({ home, ...more }) });
  const old = facts({ version: "1.9", timestamp: 3000 }, about("old", { summary: "only the old one has this" }));
  const newer = facts({ version: "1.10", timestamp: 1000 }, about("new"));
  const newest = facts({ version: "1.10", timestamp: 2_000_000_000_000, subdir: "osx-64" }, about("newest"));
  for (const order of [
    [old, newer, newest],
    [newest, newer, old],
  ]) {
    const made = summary(order);
    assert.deepEqual(
      [made["version"], made["home"], made["summary"], made["timestamp"], made["subdirs"]],
      ["1.10", "newest", "only the old one has this", 2_000_000_000, ["noarch", "osx-64"]],
    );
  }
});

test("of one version in one subdir only the newest file counts, with its facts and run exports", () => {
  const activates = { pathsJson: json({ paths: [{ _path: "etc/conda/activate.d/a" }] }) };
  const made = summary([
    facts({ timestamp: 1 }, { ...activates, runExports: json({ weak: ["old"] }) }),
    facts({ timestamp: 2 }, { runExports: json({ weak: ["new"] }) }),
    facts({ version: "2", timestamp: 2 }, { runExports: json({}) }),
  ]);
  assert.equal(made["activate.d"], false);
  assert.deepEqual(made["run_exports"], { "1": { weak: ["new"] } });
});

test("facts are true when any counted package's are", () => {
  const paths = { pathsJson: json({ paths: [{ _path: "x", prefix_placeholder: "/p", file_mode: "binary" }] }) };
  const made = summary([facts({}, paths), facts({ version: "2" })]);
  assert.deepEqual([made["binary_prefix"], made["text_prefix"]], [true, false]);
});

test("newlines in description and summary become spaces, and what is empty, null or of a wrong type is left out", () => {
  const { text } = facts(
    { license: "MIT", summary: undefined },
    {
      aboutJson: json({
        license: "not this",
        description: ["one\ntwo\n"],
        summary: " a\nb ",
        home: null,
        dev_url: "",
        tags: ["x"],
        doc_url: { a: 1 },
        keywords: [1],
      }),
    },
  );
  assert.deepEqual(text, { license: "MIT", description: "one two", summary: "a b", tags: ["x"] });
});

test("a package without name, version or subdir contributes nothing, and members that can't be read count as missing", () => {
  for (const index of [{}, { name: "a" }, { name: 1, version: "1", subdir: "noarch" }, null, []]) {
    const warnings: string[] = [];
    assert.equal(
      packageFacts({ indexJson: json(index) }, (why) => warnings.push(why)),
      undefined,
    );
    assert.ok(warnings.length > 0);
  }
  const warnings: string[] = [];
  const bad = Buffer.from("{ prefix_placeholder");
  const made = packageFacts(
    {
      indexJson: json({ name: "a", version: "1" }),
      aboutJson: bad,
      pathsJson: bad,
      runExports: bad,
      recipe: bad,
      subdir: "noarch",
    },
    (why) => warnings.push(why),
  );
  assert.deepEqual([made?.subdir, made?.text, made?.does, made?.runExports], ["noarch", {}, [], undefined]);
  assert.equal(warnings.length, 3);
});

test("a recipe's single source is read, whatever stands around it, and nothing else is", () => {
  const source = (text: string) => recipeSource(Buffer.from(text));
  assert.deepEqual(
    source("package:\n  name: {{ x }}\nsource:\n  url: https://x/a.tgz # why\n  sha256: ab\nbuild: !!python/x\n"),
    {
      source_url: "https://x/a.tgz",
    },
  );
  assert.deepEqual(source("source:\n    git_url: https://x/a.git\n"), { source_git_url: "https://x/a.git" });
  assert.deepEqual(source("source:\n  url:\n    - a\n    - b\n"), { source_url: ["a", "b"] });
  for (const text of [
    "source:\n- url: a\n- url: b\n",
    "source: x",
    "source:",
    "",
    "source:\n  a: &a [x]\n  url: *a\n",
    "source:\n\t- {",
  ])
    assert.deepEqual(source(text), {}, text);
});

test("a recipe made to keep the YAML parser busy is read in no time", () => {
  const began = performance.now();
  for (const source of ["{".repeat(2000), "? ".repeat(1000), "[{".repeat(500) + "}]".repeat(500), ",".repeat(60_000)])
    recipeSource(Buffer.from(`source:\n  url: a\n  b: ${source}`));
  assert.ok(performance.now() - began < 10_000, "one of these took hours");
});

test("property: the order in which packages come changes no byte, and keys are in code point order", () => {
  const one = fc
    .record({
      name: fc.constantFrom("a", "b", "10", "__proto__"),
      version: fc.constantFrom("1", "1.0", "2", "10", "no version"),
      subdir: fc.constantFrom("noarch", "linux-64", "osx-64"),
      timestamp: fc.constantFrom(0, 1, 2),
      build: fc.constantFrom("0", "1"),
      home: fc.constantFrom("x", "y", ""),
      weak: fc.constantFrom("x", "y"),
    })
    .map(({ home, weak, ...index }) => facts(index, { aboutJson: json({ home }), runExports: json({ weak: [weak] }) }));
  fc.assert(
    fc.property(fc.array(one, { maxLength: 10 }), (list) => {
      const bytes = channeldata(list, [], versions);
      assert.deepEqual(channeldata(list.toReversed(), [], versions), bytes);
      const names = [
        ...Buffer.from(bytes)
          .toString()
          .matchAll(/"([^"]+)":\{"activate\.d"/g),
      ].map((m) => m[1]);
      assert.deepEqual(names, [...new Set(list.map((f) => f.name))].sort());
    }),
  );
});

test("property: any JSON as any member throws nothing", () => {
  const any = fc.oneof(
    fc.json().map((j) => Buffer.from(j)),
    fc.uint8Array(),
  );
  const index = fc.oneof(
    any,
    fc.dictionary(fc.constantFrom("name", "version", "subdir", "timestamp", "summary"), fc.jsonValue()).map(json),
  );
  fc.assert(
    fc.property(index, any, any, any, any, (indexJson, aboutJson, pathsJson, runExports, recipe) => {
      const made = packageFacts({ indexJson, aboutJson, pathsJson, runExports, recipe, subdir: "noarch" });
      if (made) channeldata([made], [], versions);
    }),
    { numRuns: 500 },
  );
});
