import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { stringify } from "yaml";
import { SourceError } from "../errors.ts";
import { choosePackages } from "./choose.ts";
import type { LockedPackage, LockFile } from "./lock-file.ts";
import { readLock } from "./read-lock.ts";

const hex = (digits: number) =>
  fc.array(fc.constantFrom(..."0123456789abcdef"), { minLength: digits, maxLength: digits }).map((d) => d.join(""));
/** Hashes that YAML would take for numbers among them. */
const md5 = fc.oneof(hex(32), fc.constantFrom("1".repeat(32), `0${"7".repeat(31)}`, `12e${"3".repeat(29)}`));
const sha256 = fc.oneof(hex(64), fc.constantFrom("2".repeat(64), `9e${"4".repeat(62)}`));
const word = fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/);
const platform = fc.constantFrom("linux-64", "osx-arm64", "win-64");

interface Made {
  readonly url: string;
  readonly md5: string | undefined;
  readonly sha256: string | undefined;
}
const packageOf = fc
  .record({
    name: word,
    version: fc.constantFrom("1.0", "2024a", "1!2.0+x"),
    ext: fc.constantFrom("conda", "tar.bz2"),
    subdir: fc.oneof(platform, fc.constant("noarch")),
    md5: fc.option(md5, { nil: undefined }),
    sha256: fc.option(sha256, { nil: undefined }),
  })
  .map(
    ({ name, version, ext, subdir, ...hashes }): Made => ({
      url: `https://c.example/x/${subdir}/${name}-${version}-0.${ext}`,
      ...hashes,
    }),
  );
const environments = fc.dictionary(
  word,
  fc.dictionary(platform, fc.uniqueArray(packageOf, { selector: (p) => p.url, maxLength: 5 }), {
    noNullPrototype: true,
  }),
  { minKeys: 1, maxKeys: 3, noNullPrototype: true },
);
type Environments = Record<string, Record<string, readonly Made[]>>;

const withoutNothing = (o: object) => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined));

/** pixi.lock of a version that selects packages. Where one URL occurs twice, the first to promise something has it. */
function pixiLock(version: number, made: Environments): string {
  const all = new Map<string, Made>();
  for (const platforms of Object.values(made))
    for (const packages of Object.values(platforms)) for (const p of packages) if (!all.has(p.url)) all.set(p.url, p);
  return stringify({
    version,
    ...(version >= 7 ? { platforms: [{ name: "linux-64" }, { name: "osx-arm64" }, { name: "win-64" }] } : {}),
    environments: Object.fromEntries(
      Object.entries(made).map(([name, platforms]) => [
        name,
        {
          channels: [],
          packages: Object.fromEntries(
            Object.entries(platforms).map(([p, packages]) => [p, packages.map(({ url }) => ({ conda: url }))]),
          ),
        },
      ]),
    ),
    packages: [...all.values()].map(({ url, ...hashes }) =>
      withoutNothing({ ...(version <= 5 ? { kind: "conda", url } : { conda: url }), ...hashes }),
    ),
  });
}

test("what is written into a pixi.lock of any version is read from it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(4, 5, 6, 7), environments, async (version, made) => {
      const text = pixiLock(version, made);
      const first = new Map<string, Made>();
      for (const p of Object.values(made).flatMap((e) => Object.values(e).flat()))
        if (!first.has(p.url)) first.set(p.url, p);
      const lock = await readLock(text, "pixi.lock");
      for (const [name, platforms] of Object.entries(made)) {
        for (const [subdir, packages] of Object.entries(platforms)) {
          const read = lock.environments.find((e) => e.name === name && e.platform === subdir);
          assert.deepEqual(
            read?.packages.map((p) => [p.location, p.md5, p.sha256]),
            packages.map(({ url }) => [url, first.get(url)?.md5, first.get(url)?.sha256]),
          );
        }
      }
    }),
    { numRuns: 150 },
  );
});

test("what is written into a conda-lock.yml or an @EXPLICIT list is read from it", async () => {
  const packages = fc.uniqueArray(packageOf, { selector: (p) => p.url, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(1, 2, 3), packages, async (version, made) => {
      const listed = made.map(({ url, ...hash }) =>
        withoutNothing({ manager: "conda", platform: "linux-64", url, hash: withoutNothing(hash) }),
      );
      const lock = await readLock(stringify({ version, metadata: {}, package: listed }), "conda-lock.yml");
      const told = (l: LockFile) => l.environments.flatMap((e) => e.packages.map((p) => [p.location, p.md5, p.sha256]));
      assert.deepEqual(
        told(lock),
        made.map((p) => [p.url, p.md5, p.sha256]),
      );
      const line = (p: Made) => `${p.url}${p.sha256 ? `#sha256:${p.sha256}` : p.md5 ? `#${p.md5}` : ""}`;
      const text = ["# a comment", "", "@EXPLICIT", ...made.flatMap((p) => [line(p), ""])].join("\r\n");
      assert.deepEqual(
        told(await readLock(text, "list")),
        made.map((p) => [p.url, p.sha256 ? undefined : p.md5, p.sha256]),
      );
    }),
    { numRuns: 150 },
  );
});

test("whatever a file holds, it is read or refused in three parts, and no secret of it is told", async () => {
  const scalar = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.constant(null),
    fc.constantFrom("conda", "pip", "https://u:s3cret@h/x"),
  );
  const tree = fc.letrec((tie) => ({
    node: fc.oneof(
      { maxDepth: 5 },
      scalar,
      fc.array(tie("node"), { maxLength: 4 }),
      fc.dictionary(
        fc.constantFrom(
          "version",
          "packages",
          "package",
          "environments",
          "default",
          "conda",
          "url",
          "hash",
          "platform",
          "platforms",
          "manager",
          "kind",
          "sha256",
          "__proto__",
        ),
        tie("node"),
        { maxKeys: 6, noNullPrototype: true },
      ),
    ),
  })).node;
  const texts = fc.oneof(
    fc.string({ unit: "binary", maxLength: 300 }),
    tree.map((t) => JSON.stringify(t)),
    tree.map((t) => stringify({ version: 6, environments: t, packages: t })),
    fc
      .array(fc.oneof(fc.string(), fc.constant("https://u:s3cret@h/linux-64/a-1-0.conda#zz")))
      .map((l) => ["@EXPLICIT", ...l].join("\n")),
    fc.nat(60).map((n) => `version: 6\na: ${"[".repeat(n * 100)}`),
  );
  await fc.assert(
    fc.asyncProperty(texts, async (text) => {
      try {
        const lock = await readLock(text, "a file");
        choosePackages(lock, { environments: [], platforms: [] }, "a file");
      } catch (e) {
        assert.ok(e instanceof SourceError, String((e as Error).stack));
        assert.ok(e.what && e.why && e.next && !e.message.includes("s3cret"), e.message);
      }
    }),
    { numRuns: 600 },
  );
});

test("what can't be used is refused with the reason", async () => {
  const wrong: [string, RegExp][] = [
    ["version: 8\npackages: []\n", /version is 8, and the newest that is understood is 7/],
    ["version: six\n", /"six", which is not known/],
    ["dependencies:\n  - python\n", /environment.yml, which locks nothing/],
    ["packages: []\n", /names no version/],
    ['[{"dist_name": "a-1-0"}, {"base_url": "x"}]', /entry 2 has no dist_name/],
    ['{"lockVersion": "1.0.0"}', /mambajs/],
    ["python >=3.11\n", /neither a lock file nor a list/],
    [
      "version: 6\nenvironments:\n  a:\n    packages:\n      linux-64:\n        - conda: https://h/a-1-0.conda\npackages: []\n",
      /not among its packages/,
    ],
    ["version: 6\npackages:\n  - conda: https://h/a-1-0.conda\n    sha256: abc\n", /sha256 is not 64 hex digits/],
    ["version: 1\npackage:\n  - manager: conda\n    url: https://h/a-1-0.conda\n", /names no platform/],
    [
      "@EXPLICIT\nhttps://t:k@h/t/secret/a-1-0.conda#12\n",
      /line 2: https:\/\/h\/t\/…\/a-1-0.conda is followed by neither/,
    ],
    ["@EXPLICIT\nnumpy=1.2\n", /line 2: numpy=1.2 ends in neither/],
    [
      `version: 5\npackages:\n${["a", "b"].map((c) => `  - kind: conda\n    url: https://h/a-1-0.conda\n    md5: ${c.repeat(32)}\n`).join("")}`,
      /other bytes/,
    ],
  ];
  for (const [text, reason] of wrong)
    await assert.rejects(readLock(text, "x"), (e: SourceError) => e.code === "BAD_LOCK" && reason.test(e.why), text);
});

test("environments, categories and platforms are chosen by name, and a platform by its subdir too", () => {
  const one = (name: string, more: Partial<LockedPackage> = {}): LockedPackage => ({
    location: `https://h/${name}-1-0.conda`,
    relativeTo: "lock-file",
    ...more,
  });
  const lock: LockFile = {
    kind: "test",
    environments: [
      {
        name: "default",
        platform: "linux-64",
        subdir: "linux-64",
        packages: [one("a"), one("b", { category: "dev" })],
        skipped: [],
      },
      { name: "default", platform: "gpu", subdir: "linux-64", packages: [one("a"), one("c")], skipped: [] },
      {
        name: "docs",
        platform: "win-64",
        subdir: "win-64",
        packages: [one("d")],
        skipped: [{ kind: "pypi", location: "x" }],
      },
    ],
  };
  const names = (environments: string[], platforms: string[]) =>
    choosePackages(lock, { environments, platforms }, "x")
      .packages.map((p) => p.location[10])
      .join("");
  assert.deepEqual(
    [names([], []), names(["docs"], []), names(["default"], ["gpu"]), names([], ["linux-64"]), names(["dev"], [])],
    ["abcd", "d", "ac", "abc", "b"],
  );
  assert.equal(choosePackages(lock, { environments: ["docs"], platforms: [] }, "x").skipped.length, 1);
  assert.throws(() => names(["prod"], []), /no environment prod[\s\S]*default, docs, dev/);
  assert.throws(() => names([], ["osx-64"]), /no platform osx-64[\s\S]*linux-64, gpu, win-64/);
});

test("a lock file made to keep the YAML parser busy is refused in no time", async () => {
  const began = performance.now();
  for (const hostile of ["{".repeat(2000) + "}".repeat(2000), "[{".repeat(500) + "}]".repeat(500)])
    await assert.rejects(readLock(`version: 6\npackages: ${hostile}`, "pixi.lock"), SourceError);
  assert.ok(performance.now() - began < 10_000, "one of these took hours");
});
