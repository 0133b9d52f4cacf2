import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { asXmlText, elementsOf, textOf } from "./xml.ts";

test("text comes back out of an element as it went in", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      const xml = `<?xml version="1.0"?><R><K>${asXmlText(a)}</K><C><K>${asXmlText(b)}</K></C></R>`;
      assert.equal(textOf(xml, "K"), a);
      assert.deepEqual(
        elementsOf(xml, "C").map((c) => textOf(c, "K")),
        [b],
      );
    }),
  );
});

test("references are resolved once, and those that are none stay", () => {
  assert.equal(textOf("<K>&amp;lt;&#65;&#x1F600;&quot;&unknown;&#x110000;</K>", "K"), '&lt;A😀"&unknown;&#x110000;');
});

test("what is no XML gives nothing, and ends", () => {
  const piece = fc.constantFrom("<K>", "</K>", "<K", ">", "&", "x", "<K/>", "</", "\0");
  fc.assert(
    fc.property(
      fc.array(piece).map((p) => p.join("")),
      (xml) => {
        textOf(xml, "K");
        for (const one of elementsOf(xml, "K")) assert.ok(!one.includes("</K>"));
      },
    ),
  );
  assert.equal(textOf("<html>no list</html>", "Key"), undefined);
});
