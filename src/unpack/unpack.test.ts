import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import {
  type BuiltPackage,
  buildConda,
  buildTarBz2,
  built,
  bzip2,
  infoOf,
  type PackageSpec,
  pax,
  type TarEntry,
  tar,
  zip,
} from "../../test/packages/builder.ts";
import { temporary } from "../../test/support/folders.ts";
import { InterruptedError, MirrorError, type PackageCode, PackageError } from "../errors.ts";
import { UNPACK_LIMITS, type UnpackLimits } from "./limits.ts";
import { unpack } from "./unpack.ts";

/** Unpacks a package; gives the folder that it must be in, and the one around that. */
async function unpacked(p: BuiltPackage, limits?: UnpackLimits) {
  const around = temporary();
  const archive = join(temporary(), p.fileName);
  writeFileSync(archive, p.bytes);
  const folder = join(around, "entry");
  return { folder, around, result: await unpack(archive, p.fileName, folder, undefined, limits) };
}

/** The package is refused with this code, and nothing is left. */
async function refused(p: BuiltPackage, code: PackageCode, why: RegExp, limits?: UnpackLimits): Promise<void> {
  const around = temporary();
  const archive = join(temporary(), p.fileName);
  writeFileSync(archive, p.bytes);
  await assert.rejects(unpack(archive, p.fileName, join(around, "entry"), undefined, limits), (e) => {
    assert.ok(e instanceof PackageError, String(e));
    assert.equal(e.code, code);
    assert.match(e.why, why);
    return true;
  });
  assert.deepEqual(readdirSync(around), []);
}

const both = (spec: PackageSpec): BuiltPackage[] => [buildConda(spec), buildTarBz2(spec)];
const withPayload = (...payload: TarEntry[]): BuiltPackage[] => both({ name: "p", payload });

test("both formats unpack to the same tree, with permissions, times and links", async () => {
  const payload: TarEntry[] = [
    { name: "bin/", type: "5", mode: 0o750 },
    { name: "bin/run", content: "#!/bin/sh\n", mode: 0o755, mtime: 1_600_000_000 },
    { name: "bin/run-too", type: "1", link: "bin/run" },
    { name: "bin/r", type: "2", link: "run" },
    { name: "deep/er/file", content: "x", mode: 0o4640, mtime: 5 },
    { name: "deep/er/moon", content: "x", mtime: -14_182_940 },
    { name: "deep/er/future", content: "x", mtime: 2 ** 62 },
    pax({ path: `long/${"n".repeat(150)}/höhe` }),
    { name: "long", content: "ä", mtime: 1_500_000_000 },
    { name: "empty", content: "" },
  ];
  for (const p of both({ name: "p", files: { "share/p.txt": "text" }, payload })) {
    const { folder, result } = await unpacked(p);
    assert.equal(readFileSync(join(folder, "share/p.txt"), "utf8"), "text");
    assert.equal(statSync(join(folder, "bin/run")).mode & 0o7777, 0o755);
    assert.equal(statSync(join(folder, "bin/run")).mtimeMs, 1_600_000_000_000);
    assert.equal(statSync(join(folder, "bin")).mode & 0o7777, 0o750);
    assert.equal(statSync(join(folder, "bin/run")).ino, statSync(join(folder, "bin/run-too")).ino);
    assert.equal(readlinkSync(join(folder, "bin/r")), "run");
    assert.equal(statSync(join(folder, "deep/er/file")).mode & 0o7777, 0o640, "no set-user-ID");
    for (const early of ["deep/er/file", "deep/er/moon"])
      assert.equal(statSync(join(folder, early)).mtimeMs, Date.UTC(1980, 0, 1), "no time before 1980");
    const long = join(folder, "long", "n".repeat(150), "höhe");
    assert.equal(readFileSync(long, "utf8"), "ä");
    assert.equal(statSync(long).mtimeMs, 1_500_000_000_000);
    assert.equal(statSync(join(folder, "empty")).size, 0);
    assert.equal(result.listsFiles, true);
    assert.equal(result.members, 19);
  }
});

test("large archives are decoded as a stream: many zstd frames, data that does not shrink, many bzip2 blocks", async () => {
  const big = randomBytes(5_000_000);
  const archive = tar([{ name: "big", content: big }]);
  const cuts = [0, 1_000_000, 1_000_001, 3_500_000, archive.length];
  const frames = cuts.slice(1).map((end, i) => zstdCompressSync(archive.subarray(cuts[i], end)));
  const info = zstdCompressSync(tar(infoOf({ name: "p" })));
  const conda = built(
    "p-1.0-0.conda",
    zip([
      { name: "pkg-p-1.0-0.tar.zst", content: Buffer.concat(frames), zip64: true },
      { name: "info-p-1.0-0.tar.zst", content: info },
    ]),
  );
  for (const p of [conda, buildTarBz2({ name: "p", files: { big } })]) {
    const { folder } = await unpacked(p);
    assert.ok(readFileSync(join(folder, "big")).equals(big));
  }
});

test("archives that are deflated inside the zip are unpacked too", async () => {
  const { folder } = await unpacked(buildConda({ name: "p", files: { f: "content" } }, { zip: { method: 8 } }));
  assert.equal(readFileSync(join(folder, "f"), "utf8"), "content");
});

test("names that would leave the folder are refused", async () => {
  for (const name of ["../evil", "a/../../evil", "/evil", "C:\\evil", "a\\..\\..\\evil"])
    for (const p of withPayload({ name, content: "x" })) await refused(p, "BAD_MEMBER", /outside the package's folder/);
  const [conda] = withPayload();
  await refused(
    built("p-1.0-0.conda", zip([{ name: "../pkg-p.tar.zst", content: conda?.bytes as Buffer }])),
    "BAD_MEMBER",
    /outside the package's folder/,
  );
});

test("a link that points out is kept as it is and never written through", async () => {
  const outside = temporary();
  writeFileSync(join(outside, "victim"), "safe");
  const links: TarEntry[] = [
    { name: "out", type: "2", link: outside },
    { name: "up", type: "2", link: "../../.." },
    { name: "gone", type: "2", link: "nowhere/at/all" },
    { name: "to-file", type: "2", link: join(outside, "victim") },
  ];
  for (const p of withPayload(...links)) {
    const { folder } = await unpacked(p);
    for (const { name, link } of links) {
      assert.ok(lstatSync(join(folder, name)).isSymbolicLink());
      assert.equal(readlinkSync(join(folder, name)), link);
    }
  }
  for (const through of ["out/victim", "out/new/file", "up/x", "gone/x"])
    for (const p of withPayload(...links, { name: through, content: "owned" }))
      await refused(p, "BAD_MEMBER", /through the link/);
  for (const p of withPayload(...links, { name: "out", type: "5" })) await refused(p, "BAD_MEMBER", /twice/);
  // A file of the link's own name must not be written to where it points.
  for (const p of withPayload(...links, { name: "to-file", content: "owned" })) await refused(p, "BAD_MEMBER", /twice/);
  for (const p of withPayload(...links, { name: "to-file/x", content: "x" })) await refused(p, "BAD_MEMBER", /through/);
  assert.deepEqual(readdirSync(outside), ["victim"]);
  assert.equal(readFileSync(join(outside, "victim"), "utf8"), "safe");
});

test("hard links out of the package, to what is not there, to folders and over other files are refused", async () => {
  const outside = join(temporary(), "victim");
  writeFileSync(outside, "safe");
  for (const link of [outside, "../../victim", "later", "d", "."]) {
    const payload: TarEntry[] = [
      { name: "d", type: "5" },
      { name: "h", type: "1", link },
      { name: "later", content: "x" },
    ];
    for (const p of withPayload(...payload)) await refused(p, "BAD_MEMBER", /hard link|outside/);
  }
  const over: TarEntry[] = [
    { name: "a", content: "a" },
    { name: "b", content: "b" },
    { name: "a", type: "1", link: "b" },
  ];
  for (const p of withPayload(...over)) await refused(p, "BAD_MEMBER", /twice/);
  // A hard link to a link is that link again, not what it points to.
  for (const p of withPayload(
    { name: "s", type: "2", link: outside },
    { name: "h", type: "1", link: "s" },
    { name: "h", content: "owned" },
  ))
    await refused(p, "BAD_MEMBER", /twice/);
  assert.equal(readFileSync(outside, "utf8"), "safe");
  assert.equal(statSync(outside).nlink, 1);
});

test("devices, pipes and sparse files are refused", async () => {
  for (const type of ["3", "4", "6"])
    for (const p of withPayload({ name: "dev", type })) await refused(p, "BAD_MEMBER", /device or a pipe/);
  for (const p of withPayload({ name: "f", type: "S", content: "x" })) await refused(p, "BAD_MEMBER", /sparse/);
});

test("a member that comes twice is taken once when it is the same, and refused when it differs", async () => {
  for (const p of withPayload({ name: "f", content: "same" }, { name: "f", content: "same" })) {
    const { folder } = await unpacked(p);
    assert.equal(readFileSync(join(folder, "f"), "utf8"), "same");
  }
  const pairs: [TarEntry, TarEntry][] = [
    [
      { name: "f", content: "one" },
      { name: "f", content: "two" },
    ],
    [
      { name: "f", content: "one" },
      { name: "f", content: "longer" },
    ],
    [
      { name: "f", content: "one" },
      { name: "./f", content: "one", mode: 0o755 },
    ],
    [
      { name: "f", content: "one" },
      { name: "f", type: "2", link: "x" },
    ],
    [
      { name: "f", type: "2", link: "x" },
      { name: "f", type: "2", link: "y" },
    ],
    [
      { name: "f", content: "one" },
      { name: "f", type: "5" },
    ],
    [
      { name: "f", content: "one" },
      { name: "f/g", content: "one" },
    ],
    [
      { name: "info/index.json", content: "{}" },
      { name: "g", content: "" },
    ],
  ];
  for (const pair of pairs)
    for (const p of withPayload(...pair)) await refused(p, "BAD_MEMBER", /twice|below the file/);
});

test("what unpacks to too much is refused: by ratio, by size, by count", async () => {
  const zeros = tar([{ name: "zeros", content: Buffer.alloc(80 * 1024 * 1024) }]);
  const info = infoOf({ name: "p" });
  const bombs = [
    built(
      "p-1.0-0.conda",
      zip([
        { name: "pkg-p-1.0-0.tar.zst", content: zstdCompressSync(zeros) },
        { name: "info-p-1.0-0.tar.zst", content: zstdCompressSync(tar(info)) },
      ]),
    ),
    built("p-1.0-0.tar.bz2", bzip2(Buffer.concat([tar(info).subarray(0, -1024), zeros]))),
  ];
  for (const p of bombs) {
    assert.ok(p.bytes.length * 1000 < zeros.length);
    await refused(p, "TOO_LARGE", /unpacks to more than 67108864 bytes/);
  }
  const many = Array.from({ length: 50 }, (_, i) => ({ name: `d/${i}`, content: "x" }));
  for (const p of withPayload(...many)) {
    await refused(p, "TOO_LARGE", /more than 50 files/, { ...UNPACK_LIMITS, members: 50 });
    await refused(p, "TOO_LARGE", /more than 20000 bytes/, { ...UNPACK_LIMITS, bytes: 20_000 });
    await unpacked(p, { ...UNPACK_LIMITS, members: 60, bytes: 60_000 });
  }
  // The zip itself can be the bomb.
  const nested = zip([{ name: "pkg-p-1.0-0.tar.zst", content: Buffer.alloc(80 * 1024 * 1024), method: 8 }]);
  await refused(built("p-1.0-0.conda", nested), "TOO_LARGE", /unpacks to more than/);
});

test("a package that is cut or changed anywhere is refused or unpacked whole, and a refused one leaves nothing", async () => {
  const packages = both({ name: "p", files: { a: randomBytes(3000).toString("hex"), "b/c": "small" } });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...packages),
      fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
      fc.option(fc.integer({ min: 1, max: 255 })),
      async (p, where, flip) => {
        const at = Math.floor(where * p.bytes.length);
        const bytes = flip === null ? p.bytes.subarray(0, at) : Buffer.from(p.bytes);
        if (flip !== null) bytes[at] = (bytes[at] as number) ^ flip;
        const around = temporary();
        mkdirSync(join(around, "cache"));
        writeFileSync(join(around, p.fileName), bytes);
        try {
          await unpack(join(around, p.fileName), p.fileName, join(around, "cache/entry"));
          assert.deepEqual(readdirSync(join(around, "cache")), ["entry"]);
        } catch (e) {
          assert.ok(e instanceof MirrorError, `${(e as Error).stack}`);
          assert.deepEqual(readdirSync(join(around, "cache")), []);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("an unpacking that is stopped leaves nothing", async () => {
  for (const p of both({ name: "p", files: { big: randomBytes(2_000_000) } })) {
    const around = temporary();
    const archive = join(temporary(), p.fileName);
    writeFileSync(archive, p.bytes);
    let asked = 0;
    const throwIfAborted = () => {
      if (++asked === 3) throw new InterruptedError();
    };
    await assert.rejects(unpack(archive, p.fileName, join(around, "entry"), { throwIfAborted }), InterruptedError);
    assert.equal(asked, 3);
    assert.deepEqual(readdirSync(around), []);
  }
});

test("a folder that is there already is left as it is", async () => {
  const around = temporary();
  const [p] = withPayload() as [BuiltPackage];
  writeFileSync(join(around, p.fileName), p.bytes);
  mkdirSync(join(around, "entry"));
  writeFileSync(join(around, "entry/mine"), "x");
  await assert.rejects(unpack(join(around, p.fileName), p.fileName, join(around, "entry")));
  assert.deepEqual(readdirSync(join(around, "entry")), ["mine"]);
});
