import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { attribute, counted, dayText, fileLink, homeLink, milliseconds, rowId, shown, sizeText } from "./html.ts";

test("foreign text is escaped, cut, and isolated when it is more than ASCII", () => {
  assert.equal(shown(`<a href="x" onclick='y'>&amp;`, 99), "&lt;a href=&quot;x&quot; onclick=&#39;y&#39;&gt;&amp;amp;");
  assert.equal(shown("abcdef", 3), "<bdi>abc…</bdi>");
  assert.equal(shown("ab😀", 3), "<bdi>ab…</bdi>", "no half character is left");
  assert.equal(shown("\u202egpj.\u2066exe\0\x1b[31m\ud800", 99), "<bdi>�gpj.�exe��[31m�</bdi>");
  assert.equal(shown("two\r\n\tlines", 99), "<bdi>two lines</bdi>");
  assert.equal(shown("é 👩‍💻 می‌خواهم", 99), "<bdi>é 👩‍💻 می‌خواهم</bdi>", "joiners stay");
});

test("property: escaped text can't leave the text or the attribute it stands in", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.nat(50), (text, max) => {
      for (const out of [shown(text, max), attribute(text)]) {
        const inner = out.replace(/^<bdi>(.*)<\/bdi>$/s, "$1");
        assert.match(inner, /^(?:[^<>"'&]|&(?:amp|lt|gt|quot|#39);)*$/s);
        assert.ok(inner.isWellFormed());
      }
    }),
  );
});

test("files are linked in the page's own folder or not at all", () => {
  assert.equal(fileLink("zlib-1.3.1-hb9d3cd8_2.conda"), "zlib-1.3.1-hb9d3cd8_2.conda");
  assert.equal(fileLink("a-1!2.0+x-0.tar.bz2"), "a-1%212.0%2Bx-0.tar.bz2");
  assert.equal(fileLink("../../x-1-0.conda"), "..%2F..%2Fx-1-0.conda");
  assert.equal(fileLink("javascript:alert(1)//.conda"), "javascript%3Aalert%281%29%2F%2F.conda");
  assert.equal(fileLink('"><b>.conda'), "%22%3E%3Cb%3E.conda");
  assert.equal(fileLink("index.html"), undefined);
  assert.equal(fileLink(`${"a".repeat(300)}.conda`), undefined);
  assert.equal(fileLink("\ud800.conda"), "%EF%BF%BD.conda");
});

test("property: whatever a file is called, its link resolves to a file beside the page", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary" }).map((s) => `${s}.conda`),
      (fileName) => {
        const link = fileLink(fileName);
        if (link === undefined) return;
        const url = new URL(link, "https://host.example/channel/noarch/index.html");
        assert.match(url.href, /^https:\/\/host\.example\/channel\/noarch\/[A-Za-z0-9%._~-]*\.conda$/);
      },
    ),
  );
});

test("home pages are linked when they are http or https and hold no password", () => {
  assert.equal(homeLink("https://example.org/a?b=1&c='"), "https://example.org/a?b=1&amp;c=%27");
  assert.equal(homeLink("HTTP://EXAMPLE.org"), "http://example.org/");
  for (const home of [
    "javascript:alert(1)",
    " \tJaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "file:///etc/passwd",
    "vbscript:x",
    "//example.org",
    "example.org",
    "https://user:secret@example.org/",
    `https://example.org/${"a".repeat(600)}`,
  ])
    assert.equal(homeLink(home), undefined, home);
});

test("rows have an id only for names that a package may have", () => {
  assert.equal(rowId("_libgcc.mutex-x"), "p-_libgcc.mutex-x");
  for (const name of ["", "-rf", "a b", 'a"', "é", "a".repeat(101)]) assert.equal(rowId(name), undefined);
});

test("sizes, counts and days are short and the same everywhere", () => {
  assert.deepEqual([0, 999, 1000, 99_949, 999_499, 999_500, 1.5e9, 2e13, undefined, -1, Number.NaN].map(sizeText), [
    "0 B",
    "999 B",
    "1.0 kB",
    "99.9 kB",
    "999 kB",
    "1.0 MB",
    "1.5 GB",
    "20.0 TB",
    "",
    "",
    "",
  ]);
  assert.deepEqual([counted(1, "file", "files"), counted(1234567, "file", "files")], ["1 file", "1,234,567 files"]);
  assert.equal(dayText(milliseconds(1_700_000_000)), "2023-11-14", "seconds");
  assert.equal(dayText(milliseconds(1_700_000_000_000)), "2023-11-14", "milliseconds");
  for (const none of [undefined, 0, -5, Number.NaN, 1e300, Number.POSITIVE_INFINITY])
    assert.equal(dayText(milliseconds(none)), "");
});
