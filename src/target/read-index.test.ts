import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openFolder } from "./folder.ts";
import { readIndex } from "./read-index.ts";

const folder = mkdtempSync(join(tmpdir(), "meso-forge-mirror-read-index-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

function lay(subdir: string, license: string): void {
  mkdirSync(join(folder, subdir), { recursive: true });
  const index = { packages: {}, "packages.conda": { "a-1-0.conda": { name: "a", license } } };
  writeFileSync(join(folder, subdir, "repodata.json"), JSON.stringify(index));
}

test("a large index that did not change is scanned once, also when another subdir's is read in between", async () => {
  lay("linux-64", "x".repeat(34_000_000));
  lay("noarch", "MIT");
  const store = await openFolder(folder);
  const first = (await readIndex(store, "linux-64")).index;
  await readIndex(store, "noarch");
  const second = (await readIndex(store, "linux-64")).index;
  assert.ok(second.maps["packages.conda"].spans === first.maps["packages.conda"].spans, "it was scanned again");
  lay("linux-64", "y".repeat(34_000_000));
  const changed = (await readIndex(store, "linux-64")).index;
  assert.ok(changed.maps["packages.conda"].spans !== first.maps["packages.conda"].spans);
  await store.close();
});
