import assert from "node:assert/strict";
import { test } from "node:test";
import { attributesOf, htmlTokens, textOf } from "../../../test/support/html-tokens.ts";
import { channelPage, MAX_SUMMARIES, type PackageSummary } from "./channel-page.ts";

const subdirs = [
  { subdir: "noarch", packages: 12_345, names: 1000, bytes: 4e9, newest: 1_700_000_000 },
  { subdir: "linux-64", packages: 5, names: 2, bytes: 1e6, newest: 1_800_000_000_000 },
  { subdir: "../evil", packages: 1, names: 1, bytes: 1 },
];
const page = (summaries?: ReadonlyMap<string, PackageSummary>) =>
  [...channelPage({ channelName: "my-channel", subdirs, ...(summaries ? { summaries } : {}) })].join("");

test("a channel's page lists its subdirs with counts, and links those that are some", () => {
  const tokens = htmlTokens(page());
  const text = textOf(tokens);
  for (const part of ["my-channel", "12,351 files", "4.0 GB", "last updated 2027-01-15", "2023-11-14", "../evil"])
    assert.ok(text.includes(part), part);
  assert.deepEqual(
    attributesOf(tokens, "href").filter((link) => link.includes("index.html")),
    ["linux-64/index.html", "noarch/index.html"],
  );
  assert.ok(!text.includes("Packages\n"), "no list where nothing is known of packages");
});

test("a package's row has its summary, version and platforms; below it home page, licence and links to its rows", () => {
  const tokens = htmlTokens(
    page(
      new Map<string, PackageSummary>([
        [
          "zlib",
          {
            summary: "Compression",
            home: "https://zlib.net/",
            license: "Zlib",
            version: "1.3",
            subdirs: ["linux-64", "noarch"],
          },
        ],
        ["bad", { home: "javascript:alert(1)", version: "1.20", subdirs: ["../x"] }],
        ["bare", {}],
      ]),
    ),
  );
  const text = textOf(tokens);
  for (const part of ["3 packages", "Compression", "Licence Zlib", "linux-64, noarch", "Home page javascript:alert(1)"])
    assert.ok(text.includes(part), part);
  const links = attributesOf(tokens, "href");
  for (const link of ["https://zlib.net/", "linux-64/index.html#p-zlib", "noarch/index.html#p-zlib"])
    assert.ok(links.includes(link), link);
  assert.ok(!links.some((link) => /javascript|\.\.\/x/.test(link)));
  assert.deepEqual(attributesOf(tokens, "data-v"), ["2", "0", "1"]);
});

test("with more names a row has version, platforms and one link, and the page stays light", () => {
  const of = (count: number) =>
    page(
      new Map(
        Array.from({ length: count }, (_, i) => [
          `package-${i}`,
          {
            summary: "s".repeat(300),
            home: `https://example.org/${i}`,
            version: "1.0",
            subdirs: ["linux-64", "noarch"],
          },
        ]),
      ),
    );
  assert.ok(of(MAX_SUMMARIES).length < 3.5e6);
  const html = of(50_000);
  assert.ok(html.length < 7e6, `${html.length}`);
  assert.ok(html.includes('<a href="linux-64/index.html#p-package-7">package-7</a>'));
  assert.ok(!html.includes("example.org"));
});
