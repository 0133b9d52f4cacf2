import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { textsOf } from "../../../test/support/arbitraries.ts";
import { azureAddress, azureName } from "./address.ts";

const BASE = "https://dev.azure.com";
const at = (text: string) => azureAddress(text, BASE);

test("web addresses lead to project, build and pipeline", () => {
  const in_ = { organisation: "conda-forge", project: "feedstock-builds" };
  const forms: [string, object][] = [
    ["https://dev.azure.com/conda-forge/feedstock-builds", in_],
    [
      "https://dev.azure.com/conda-forge/feedstock-builds/_build/results?buildId=5&view=logs&j=1",
      { ...in_, build: "5" },
    ],
    [
      "https://dev.azure.com/conda-forge/feedstock-builds/_build/results?view=results&BUILDID=5",
      { ...in_, build: "5" },
    ],
    ["https://dev.azure.com/conda-forge/feedstock-builds/_build?definitionId=9", { ...in_, definition: "9" }],
    ["https://conda-forge.visualstudio.com/feedstock-builds/_build/results?buildId=5", { ...in_, build: "5" }],
    [
      "https://conda-forge.visualstudio.com/DefaultCollection/feedstock-builds/_build/results?buildId=5",
      { ...in_, build: "5" },
    ],
    ["https://dev.azure.com/conda-forge/feedstock-builds/_apis/build/builds/5/artifacts", { ...in_, build: "5" }],
    [
      "https://dev.azure.com/org/My%20Project/_build/results?buildId=5",
      { organisation: "org", project: "My Project", build: "5" },
    ],
    ["org/My Project#5", { organisation: "org", project: "My Project", build: "5" }],
  ];
  for (const [text, expected] of forms) assert.deepEqual(at(text), expected, text);
  assert.deepEqual(azureAddress("https://server/tfs/Collection/P/_build/results?buildId=5", "https://server/tfs"), {
    organisation: "Collection",
    project: "P",
    build: "5",
  });
});

test("what is at another host, or no project's name, is none", () => {
  for (const text of [
    "https://dev.azure.com.evil.example/o/p",
    "https://user:x@dev.azure.com/o/p",
    "http://dev.azure.com/o/p",
    "https://dev.azure.com/o",
    "https://a.b.visualstudio.com/p",
    "https://evil.example/x.visualstudio.com/p",
    "https://dev.azure.com/o/..",
    "o/..",
    "o/p#x",
    "o/p/q",
    "o",
    "",
    "https://dev.azure.com/%E0%A4%A/p",
  ])
    assert.equal(at(text), undefined, text);
});

test("any text is read or refused, and what is read is read again", () => {
  const text = textsOf([
    "https://dev.azure.com/",
    "/",
    "..",
    "#",
    "%2f",
    "_build",
    "?buildId=",
    "o",
    "p",
    "7",
    "\\",
    " ",
  ]);
  fc.assert(
    fc.property(text, (given) => {
      const found = at(given);
      if (!found) return;
      const { definition: _, ...rest } = found;
      assert.deepEqual(at(azureName(found)), rest);
      const path = `/${encodeURIComponent(found.organisation)}/${encodeURIComponent(found.project)}/_apis`;
      assert.equal(new URL(BASE + path).pathname, path);
    }),
    { numRuns: 3000 },
  );
});
