import assert from "node:assert/strict";
import { test } from "node:test";
import { nameIn, placesByName, recordAt } from "./record-names.ts";
import { readRepodata } from "./repodata.ts";

test("records are found by a name that is written in any way; what is no text is no name", () => {
  const records = [
    '"a-1-0.conda":{"name":"a"}',
    '"A-1-1.conda":{"name":"A"}',
    '"a-1-2.conda":{"n\\u0061me":"\\u0061"}',
    '"b-1-0.conda":{"name":"b"}',
    '"n-1-0.conda":{"name":null}',
    '"n-1-1.conda":{"name":{"name":"a"}}',
    '"n-1-2.conda":{"name":12}',
  ];
  // Nothing with a quote in it follows the last one.
  const index = readRepodata(Buffer.from(`{"packages.conda":{${records.join(",")}}}`));
  const found = (names?: ReadonlySet<string>) =>
    [...placesByName(index, names)].map(([name, places]) => [name, places.map((p) => recordAt(index, p).fileName)]);
  const ofA = ["a", ["A-1-1.conda", "a-1-0.conda", "a-1-2.conda"]];
  assert.deepEqual(found(new Set(["a"])), [ofA]);
  assert.deepEqual(found(), [ofA, ["b", ["b-1-0.conda"]]]);
  for (const [record, name] of [
    ['{"n\\u0061me":"B"}', "b"],
    ['{"name":1}', undefined],
    ["{}", undefined],
  ] as const)
    assert.equal(nameIn(Buffer.from(record)), name);
});
