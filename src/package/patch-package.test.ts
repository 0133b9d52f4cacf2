import assert from "node:assert/strict";
import { test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { buildConda, buildTarBz2, bzip2, tar, zip } from "../../test/packages/builder.ts";
import { PackageError } from "../errors.ts";
import { readPatchPackage } from "./patch-package.ts";
import { readAtBuffer } from "./read-at.ts";

const files = {
  "linux-64/patch_instructions.json": '{"remove":["a"]}',
  "noarch/patch_instructions.json": "{}",
  "README.md": "x",
  "not/a/patch_instructions.json": "x",
  "patch_instructions.json": "x",
};
const spec = { name: "patches", files };
const read = async (fileName: string, bytes: Uint8Array) =>
  Object.fromEntries(
    [...(await readPatchPackage(fileName, readAtBuffer(bytes)))].map(([subdir, b]) => [
      subdir,
      Buffer.from(b).toString(),
    ]),
  );
const wanted = { "linux-64": '{"remove":["a"]}', noarch: "{}" };

test("the instructions of each subdir are read out of both formats; other members are passed over", async () => {
  for (const p of [buildConda(spec), buildTarBz2(spec), buildConda(spec, { zip: { method: 8 } })])
    assert.deepEqual(await read(p.fileName, p.bytes), wanted, p.fileName);
});

test("a payload of several zstd frames is read to its end", async () => {
  const payload = tar(Object.entries(files).map(([name, content]) => ({ name: `./${name}`, content })));
  const frames = [payload.subarray(0, 700), payload.subarray(700)].map((part) => zstdCompressSync(part));
  const bytes = zip([{ name: "pkg-patches-1.0-0.tar.zst", content: Buffer.concat(frames) }]);
  assert.deepEqual(await read("patches-1.0-0.conda", bytes), wanted);
});

test("what is no package of patch instructions is refused, and says why", async () => {
  const twice = tar([0, 1].map((n) => ({ name: "noarch/patch_instructions.json", content: `${n}` })));
  const escaping = tar([{ name: "../noarch/patch_instructions.json", content: "{}" }]);
  const claims = tar([{ name: "noarch/patch_instructions.json", content: "{}", statedSize: 300 * 1024 * 1024 }]);
  const conda = (payload: Uint8Array) => zip([{ name: "pkg-x-1-0.tar.zst", content: zstdCompressSync(payload) }]);
  const cases: [fileName: string, bytes: Uint8Array, code: string][] = [
    ["x-1-0.conda", buildConda({ name: "x" }).bytes, "NOT_A_PACKAGE"],
    ["x-1-0.conda", zip([{ name: "info-x-1-0.tar.zst", content: zstdCompressSync(twice) }]), "NOT_A_PACKAGE"],
    ["x-1-0.conda", conda(twice), "BAD_MEMBER"],
    ["x-1-0.conda", conda(escaping), "BAD_MEMBER"],
    ["x-1-0.conda", conda(claims), "TOO_LARGE"],
    ["x-1-0.conda", zip([{ name: "pkg-x-1-0.tar.zst", content: Buffer.from("no zstd") }]), "DAMAGED"],
    ["x-1-0.conda", Buffer.from("PK"), "DAMAGED"],
    ["x-1-0.conda", Buffer.alloc(0), "NOT_A_PACKAGE"],
    ["x-1-0.tar.bz2", bzip2(twice), "BAD_MEMBER"],
    ["x-1-0.tar.bz2", Buffer.from("BZh9"), "DAMAGED"],
    ["x-1-0.zip", Buffer.from("x"), "NOT_A_PACKAGE"],
  ];
  for (const [fileName, bytes, code] of cases)
    await assert.rejects(read(fileName, bytes), { name: "PackageError", code }, `${fileName} ${code}`);
});

test("property: damage throws nothing but our error", async () => {
  const whole = [buildConda(spec), buildTarBz2(spec)];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...whole),
      fc.nat(),
      fc.nat(255),
      fc.boolean(),
      async ({ fileName, bytes }, at, byte, cut) => {
        const damaged = Buffer.from(cut ? bytes.subarray(0, at % bytes.length) : bytes);
        if (!cut) damaged[at % damaged.length] = byte;
        try {
          await read(fileName, damaged);
        } catch (e) {
          assert.ok(e instanceof PackageError, String(e));
        }
      },
    ),
    { numRuns: 150 },
  );
});
