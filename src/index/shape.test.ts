import assert from "node:assert/strict";
import { test } from "node:test";
import { eachRecord, readRepodata } from "./repodata.ts";
import { shapedAs, shapeOf } from "./shape.ts";

const TEXT = JSON.stringify({
  info: { subdir: "noarch", base_url: "../packages/" },
  packages: { "b-1-0.tar.bz2": { name: "b" }, "a-1-0.tar.bz2": { name: "a", "na\\u006de": "c" } },
  "packages.conda": { "a-2-0.conda": { name: "a", depends: ["b"] } },
  removed: ["gone-1-0.conda"],
  v3: { whl: { x: 1 }, conda: { "c-1-0": { name: "c" } } },
  more: [1, 2],
});

test("an index is known again from the same bytes, wherever they lie in memory", () => {
  const index = readRepodata(Buffer.from(TEXT));
  const shape = shapeOf(index);
  const moved = Buffer.from(`  ${TEXT}`).subarray(2);
  const again = shapedAs(shape, moved);
  assert.deepEqual(again, readRepodata(moved));
  assert.equal([...eachRecord(again)].length, 4);
});

test("other bytes are not taken for it, of the same length neither", () => {
  const shape = shapeOf(readRepodata(Buffer.from(TEXT)));
  assert.equal(shapedAs(shape, Buffer.from(TEXT.replace('"name":"b"', '"name":"d"'))), undefined);
  assert.equal(shapedAs(shape, Buffer.from(`${TEXT} `)), undefined);
});
