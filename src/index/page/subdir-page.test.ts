import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Script } from "node:vm";
import fc from "fast-check";
import { attributesOf, type HtmlToken, htmlTokens, textOf } from "../../../test/support/html-tokens.ts";
import { channelPage } from "./channel-page.ts";
import type { PageRecord } from "./page-record.ts";
import { MAX_FILES_SHOWN, MAX_NAMES_TOLD, subdirPage } from "./subdir-page.ts";

function record(name: string, version: string, more: Partial<PageRecord> = {}): PageRecord {
  const build = more.build ?? "h0_0";
  const fileName = `${name}-${version}-${build}.conda`;
  return { fileName, name, version, build, buildNumber: 0, depends: [], sha256: "ab".repeat(32), ...more };
}

function page(records: Iterable<PageRecord>, compareVersions?: (a: string, b: string) => number): string {
  const options = { channelName: "my-channel", subdir: "linux-64", records };
  return [...subdirPage({ ...options, ...(compareVersions ? { compareVersions } : {}) })].join("");
}

/** The rows of a page as the texts of their cells. */
function rowsOf(tokens: readonly HtmlToken[]): string[][] {
  const rows: string[][] = [];
  let row: string[] | undefined;
  for (const token of tokens) {
    if ("tag" in token && token.tag === "tr") {
      row = [];
      rows.push(row);
    } else if ("tag" in token && token.tag === "td") row?.push("");
    else if ("end" in token && token.end === "table") row = undefined;
    else if ("text" in token && row && row.length > 0) row[row.length - 1] += token.text;
  }
  return rows.slice(1).map((cells) => cells.map((cell) => cell.trim()));
}

test("a row is a package: newest version, its newest file's size, the latest day, the count; below it every file", () => {
  const tokens = htmlTokens(
    page([
      record("zlib", "1.9", { size: 1, timestamp: 1_800_000_000_000, build: "h1_0" }),
      record("zlib", "1.10", { size: 5000, timestamp: 1_700_000_000, build: "h2_1", buildNumber: 1, license: "Zlib" }),
      record("zlib", "1.10", { size: 7, timestamp: 1_750_000_000, build: "h2_0", noarch: "generic" }),
      record("Abc", "2", { depends: ["zlib >=1.9,<2", "python 3.*", "zlib[version='>=1']"] }),
    ]),
  );
  const rows = rowsOf(tokens);
  assert.deepEqual(
    rows.map((cells) => cells.slice(1)),
    [
      ["2", "", "", "1"],
      ["1.10", "5.0 kB", "2027-01-15", "3"],
    ],
  );
  assert.match(
    rows[1]?.[0] as string,
    /^zlib1\.10zlib-1\.10-h2_1\.conda .*zlib-1\.10-h2_0\.conda .*1\.9 1 file.*zlib-1\.9-h1_0/,
  );
  const text = textOf(tokens);
  for (const part of ["2 packages", "4 files", "last updated 2027-01-15", "Zlib", "noarch generic", "python 3.*"])
    assert.ok(text.includes(part), part);
  const links = attributesOf(tokens, "href");
  for (const link of ["../index.html", "repodata.json", "zlib-1.10-h2_1.conda", "zlib-1.9-h1_0.conda", "#p-zlib"])
    assert.ok(links.includes(link), link);
  assert.equal(links.filter((link) => link === "#p-zlib").length, 2);
  assert.ok(!links.includes("#p-python"), "what the page doesn't have is not linked");
  assert.deepEqual(
    attributesOf(tokens, "id").filter((id) => id.startsWith("p-")),
    ["p-Abc", "p-zlib"],
  );
});

test("the version order is the one passed in, and may throw", () => {
  const backwards = (a: string, b: string) => {
    if (a === "bad" || b === "bad") throw new Error("no version");
    return Number(b) - Number(a);
  };
  const rows = rowsOf(
    htmlTokens(page([record("a", "3"), record("a", "bad"), record("a", "1"), record("b", "2")], backwards)),
  );
  assert.deepEqual(
    rows.map((cells) => cells[1]),
    ["1", "2"],
  );
  const ranks = attributesOf(htmlTokens(page([record("a", "1.9"), record("b", "1.10"), record("c", "1.9")])), "data-v");
  assert.deepEqual(ranks, ["0", "1", "0"]);
});

test("a subdir without packages has a page that says so", () => {
  assert.ok(textOf(htmlTokens(page([]))).includes("There are no packages here."));
});

function* many(names: number, builds: number): Generator<PageRecord> {
  for (let i = 0; i < names; i++)
    for (let k = 0; k < builds; k++)
      yield record(`package-${i}`, `${1 + Math.floor(k / 8)}.0`, {
        build: `py3${k % 8}h123456_${k}`,
        buildNumber: k,
        depends: [
          "python >=3.10,<3.15.0a0",
          "libstdcxx >=14",
          "libgcc >=14",
          "__glibc >=2.17,<3.0.a0",
          "numpy >=1.23,<3",
        ],
        ...{ license: "BSD-3-Clause", size: 1000 + i, timestamp: 1_700_000_000_000 + i },
      });
}

test("with more files a page tells of each name its newest version: one file in full, five more as links", () => {
  const all = [...many(MAX_FILES_SHOWN / 10, 10)];
  const full = attributesOf(htmlTokens(page(all)), "href");
  assert.ok(all.every(({ fileName }) => full.includes(fileName)));
  const tokens = htmlTokens(page([...all, record("one-more", "1")]));
  const links = attributesOf(tokens, "href").filter((link) => /^package-7-/.test(link));
  assert.deepEqual(links, ["package-7-2.0-py31h123456_9.conda", "package-7-2.0-py30h123456_8.conda"]);
  assert.ok(
    textOf(tokens).includes("With 3,001 files this page tells of each package its newest version; the index has"),
  );
  const builds = attributesOf(htmlTokens(page(many(401, 8))), "href").filter((link) => /^package-7-/.test(link));
  assert.deepEqual(
    builds,
    [7, 6, 5, 4, 3, 2].map((k) => `package-7-1.0-py3${k}h123456_${k}.conda`),
  );
});

test("with more names still a row is a name with its newest version and a link to its newest file", () => {
  const tokens = htmlTokens(page(many(MAX_NAMES_TOLD + 1, 2)));
  const rows = rowsOf(tokens);
  assert.equal(rows.length, MAX_NAMES_TOLD + 1);
  assert.deepEqual(rows[0], ["package-0", "1.0", "1.0 kB", "2023-11-14", ".conda"]);
  assert.ok(attributesOf(tokens, "href").includes("package-0-1.0-py31h123456_1.conda"));
  assert.ok(!attributesOf(tokens, "href").includes("package-0-1.0-py30h123456_0.conda"));
});

test("a page of 50,000 files stays light, and comes in pieces", () => {
  const sizes = ([names, builds]: readonly [number, number]) => {
    let [bytes, longest] = [0, 0];
    for (const chunk of subdirPage({ channelName: "c", subdir: "linux-64", records: many(names, builds) })) {
      bytes += Buffer.byteLength(chunk);
      longest = Math.max(longest, chunk.length);
    }
    return { bytes, longest };
  };
  for (const [names, builds, atMost] of [
    [300, 10, 2.5e6],
    [2500, 20, 2.5e6],
    [5000, 10, 1e6],
    [50_000, 1, 8e6],
  ] as const) {
    const { bytes, longest } = sizes([names, builds]);
    assert.ok(bytes < atMost, `${names} names with ${builds} files each: ${bytes} bytes`);
    assert.ok(longest < 128 * 1024, `a piece of ${longest} characters`);
  }
});

const nasty = fc.oneof(
  fc.constantFrom(
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "</summary></details></td></table><svg onload=alert(1)>",
    `" onmouseover="alert(1)`,
    "' autofocus onfocus='alert(1)",
    "<!--",
    "]]>",
    "&lt;b&gt;&#0;&amp",
    "javascript:alert(1)",
    "../../x",
    "__proto__",
    "\u202eevil\u2066",
    "\0\x1b\ufeff\ud800",
    "a".repeat(5000),
    "-rf",
    "constructor",
  ),
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme" }),
);
const record_ = fc.record(
  {
    fileName: fc.oneof(
      nasty,
      nasty.map((s) => `${s}.conda`),
      nasty.map((s) => `${s}.tar.bz2`),
    ),
    name: nasty,
    version: nasty,
    build: nasty,
    buildNumber: fc.oneof(fc.nat(), fc.double()),
    depends: fc.array(nasty, { maxLength: 4 }),
    license: nasty,
    size: fc.double(),
    timestamp: fc.double(),
    sha256: nasty,
    noarch: nasty,
  },
  { requiredKeys: ["fileName", "name", "version", "build", "buildNumber", "depends"], noNullPrototype: true },
);

const TAGS =
  "a b bdi body button code details div fieldset footer h1 h2 h3 head header html input label legend li link main meta nav output p script section small span style summary table tbody td th thead time title tr ul var";
const ATTRIBUTES =
  "aria-label aria-labelledby aria-live autocomplete charset checked class content data-channel data-sort data-v href http-equiv id lang name placeholder rel role scope spellcheck type value";
const LINK =
  /^(?:(?:[a-z0-9-]+\/)?index\.html(?:#p-[\w.-]+)?|\.\.\/index\.html|repodata\.json|\.\.?\/|#p-[\w.-]+|[\w.~%-]*\.(?:conda|tar\.bz2)|data:image\/svg\+xml,[^"]+|https?:\/\/[^"\s]+)$/;

/** What must hold for any page, whatever its records: only our tags, attributes and kinds of links, nothing unseen. */
function holdsOnlyOurMarkup(html: string): HtmlToken[] {
  const tokens = htmlTokens(html);
  const tags = new Set(TAGS.split(" "));
  const names = new Set(ATTRIBUTES.split(" "));
  for (const token of tokens) {
    if (!("tag" in token)) continue;
    assert.ok(tags.has(token.tag), `<${token.tag}>`);
    for (const name of token.attributes.keys()) assert.ok(names.has(name), `<${token.tag} ${name}>`);
  }
  assert.equal(tokens.filter((t) => "tag" in t && t.tag === "script").length, 1);
  for (const link of attributesOf(tokens, "href")) assert.match(link, LINK);
  const ids = attributesOf(tokens, "id");
  assert.equal(new Set(ids).size, ids.length, "an id twice");
  assert.doesNotMatch(html, /[\u202a-\u202e\u2066-\u2069]|[^\P{Cc}\n]/u);
  assert.ok(html.isWellFormed());
  return tokens;
}

test("property: whatever records hold, a page has our tags and attributes alone, and every name is in its text", () => {
  fc.assert(
    fc.property(
      fc.array(record_ as fc.Arbitrary<PageRecord>, { maxLength: 6 }),
      nasty,
      nasty,
      (records, channelName, subdir) => {
        const make = (r: readonly PageRecord[]) => [...subdirPage({ channelName, subdir, records: r })].join("");
        const html = make(records);
        const text = textOf(holdsOnlyOurMarkup(html));
        for (const { name } of records) if (/^[\x20-\x7e]{1,100}$/.test(name)) assert.ok(text.includes(name));
        assert.equal(make(records), html, "same records, same bytes");
        assert.ok(html.length < 60_000 + records.length * 6000, "huge fields are cut");
      },
    ),
    { numRuns: 300 },
  );
});

test("property: a page is the same whatever the order of its records", () => {
  const version = fc.constantFrom("1.0", "1.00", "1", "2.0a", "latest");
  const records = fc.uniqueArray(
    fc
      .tuple(fc.constantFrom("a", "A", "b"), version, fc.nat(3))
      .map(([name, v, k]) => record(name, v, { build: `${k}`, buildNumber: k % 2, timestamp: 1_700_000_000 + k })),
    { selector: (r) => r.fileName, maxLength: 12 },
  );
  fc.assert(
    fc.property(records, (list) => {
      assert.equal(page([...list].reverse()), page(list));
    }),
  );
});

test("property: whatever summaries hold, a channel's page has our tags and attributes alone", () => {
  const summary = fc.record(
    {
      summary: nasty,
      home: fc.oneof(nasty, fc.webUrl()),
      license: nasty,
      version: nasty,
      subdirs: fc.array(fc.oneof(nasty, fc.constantFrom("noarch", "linux-64"))),
    },
    { requiredKeys: [], noNullPrototype: true },
  );
  const subdirs = fc.array(
    fc.record({
      subdir: fc.oneof(nasty, fc.constant("noarch")),
      packages: fc.nat(),
      names: fc.nat(),
      bytes: fc.nat(),
      newest: fc.double(),
    }),
    { maxLength: 4 },
  );
  fc.assert(
    fc.property(nasty, subdirs, fc.array(fc.tuple(nasty, summary), { maxLength: 5 }), (channelName, list, pairs) => {
      const make = () =>
        [
          ...channelPage({ channelName, subdirs: list, summaries: new Map(pairs) } as Parameters<
            typeof channelPage
          >[0]),
        ].join("");
      holdsOnlyOurMarkup(make());
      assert.equal(make(), make());
    }),
    { numRuns: 200 },
  );
});

test("the policy names the hashes of the style sheet and script that stand in the page, and nothing else", () => {
  const tokens = htmlTokens(page([record("a", "1")]));
  const inside = (tag: string) =>
    (tokens[tokens.findIndex((t) => "tag" in t && t.tag === tag) + 1] as { text: string }).text;
  const hash = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  const policy = attributesOf(tokens, "content").find((c) => c.startsWith("default-src 'none'")) as string;
  assert.ok(policy.includes(`script-src ${hash(inside("script"))};`));
  assert.ok(policy.includes(`style-src ${hash(inside("style"))};`));
  assert.doesNotMatch(policy, /unsafe|https?:|\*/);
  new Script(inside("script"));
  assert.doesNotMatch(inside("script"), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|<!--/);
});

test("files that lie elsewhere are linked to where they lie, and not at all where that can't be linked", () => {
  const links = (baseUrl: string, count = 1) => {
    const records = Array.from({ length: count }, (_, i) => record(`p${i}`, "1"));
    const made = [...subdirPage({ channelName: "my-channel", subdir: "linux-64", records, baseUrl })].join("");
    return attributesOf(htmlTokens(made), "href").filter((href) => href.endsWith(".conda"));
  };
  assert.deepEqual(links("https://cdn.example/ch/linux-64/"), ["https://cdn.example/ch/linux-64/p0-1-h0_0.conda"]);
  assert.deepEqual(links("https://cdn.example/ch/linux-64"), ["https://cdn.example/ch/linux-64/p0-1-h0_0.conda"]);
  assert.deepEqual(links("../../pool/linux-64/"), ["../../pool/linux-64/p0-1-h0_0.conda"]);
  for (const odd of [
    "javascript:alert(1)//",
    "//evil.example/",
    "https://me:pw@cdn.example/",
    "https://x.example/?q=",
    "../a b/",
  ])
    assert.deepEqual(links(odd), [], odd);
  assert.equal(links("https://cdn.example/", MAX_FILES_SHOWN + 1).length, MAX_FILES_SHOWN + 1);
});
