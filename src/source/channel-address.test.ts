import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { temporary } from "../../test/support/folders.ts";
import { channelAddress } from "./channel-address.ts";

const url = (text: string, alias?: string) => {
  const address = channelAddress(text, alias);
  const base = address && "url" in address.base ? address.base.url : undefined;
  return address?.subdir === undefined ? base : `${base} ${address.subdir}`;
};

test("a channel is named as conda, mamba and pixi name it, by its page, or by one of its files", () => {
  for (const [text, expected] of [
    ["conda-forge", "https://conda.anaconda.org/conda-forge/"],
    ["conda-forge/label/dev", "https://conda.anaconda.org/conda-forge/label/dev/"],
    ["conda-forge/linux-64", "https://conda.anaconda.org/conda-forge/ linux-64"],
    ["conda-forge/label/dev/noarch", "https://conda.anaconda.org/conda-forge/label/dev/ noarch"],
    ["pkgs/main", "https://repo.anaconda.com/pkgs/main/"],
    ["conda.anaconda.org/bioconda", "https://conda.anaconda.org/bioconda/"],
    ["https://conda.anaconda.org/bioconda", "https://conda.anaconda.org/bioconda/"],
    ["https://conda.anaconda.org/bioconda/osx-64/repodata.json.zst", "https://conda.anaconda.org/bioconda/ osx-64"],
    ["https://example.com/t/s3cret/private/", "https://example.com/t/s3cret/private/"],
    ["https://anaconda.org/conda-forge", "https://conda.anaconda.org/conda-forge/"],
    ["https://anaconda.org/channels/conda-forge/", "https://conda.anaconda.org/conda-forge/"],
    ["https://prefix.dev/channels/mine", "https://repo.prefix.dev/mine/"],
    ["https://prefix.dev/mine", "https://repo.prefix.dev/mine/"],
    ["http://localhost:8080", "http://localhost:8080/"],
    ["s3://bucket/prefix/linux-64", "s3://bucket/prefix/ linux-64"],
    ["oci://ghcr.io/channel-mirrors/conda-forge", "oci://ghcr.io/channel-mirrors/conda-forge/"],
  ] as const)
    assert.equal(url(text), expected, text);
  assert.equal(url("mine", "https://mirror.example.com/conda/"), "https://mirror.example.com/conda/mine/");
  assert.equal(channelAddress("https://example.com/t/s3cret/private/")?.name, "https://example.com/t/…/private");
});

test("folders are channels as they stand; a subdir that has an index narrows them down", () => {
  const folder = temporary();
  mkdirSync(join(folder, "linux-64"));
  writeFileSync(join(folder, "linux-64/repodata.json"), "{}");
  assert.deepEqual(channelAddress(folder), { name: folder, base: { folder } });
  assert.deepEqual(channelAddress(join(folder, "linux-64")), { name: folder, base: { folder }, subdir: "linux-64" });
  assert.deepEqual(channelAddress(pathToFileURL(folder).href), { name: folder, base: { folder } });
});

test("whatever is typed is an address or none, and never an error", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.webUrl(), fc.stringMatching(/^[\w./:@-]*$/)), (text) => {
      if (/^file:/i.test(text)) return;
      const address = channelAddress(text);
      if (address && "url" in address.base) new URL(address.base.url);
    }),
  );
  for (const text of ["", "a b", "owner/repo", "git://x/y", "https://", "staged-recipes#1"])
    assert.equal(channelAddress(text), undefined, text);
});
