import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import {
  buildConda,
  buildTarBz2,
  bzip2,
  infoOf,
  type PackageSpec,
  pax,
  type TarEntry,
  tar,
  zip,
} from "../../test/packages/builder.ts";
import { madeRecord } from "../../test/support/made-record.ts";
import { loadVersions } from "../conda/version.ts";
import { MirrorError } from "../errors.ts";
import { type InfoMember, RECIPE_BEYOND_INFO, type ReadOptions, readPackage } from "./read.ts";
import { readAtBuffer } from "./read-at.ts";

const ALL: InfoMember[] = ["info/index.json", "info/about.json", "info/run_exports.json", "info/paths.json"];
const facts = { md5: "0".repeat(32), sha256: "1".repeat(64), size: 7 };

const madeOf = (fileName: string, bytes: Uint8Array, known?: string) => madeRecord(fileName, bytes, facts, known);

async function recordOf(...args: Parameters<typeof madeOf>): Promise<Record<string, unknown>> {
  return JSON.parse(Buffer.from((await madeOf(...args)).record).toString()) as Record<string, unknown>;
}

const condaOf = (info: readonly TarEntry[], more: Parameters<typeof zip>[0] = []) =>
  zip([...more, { name: "info-x-1.0-0.tar.zst", content: zstdCompressSync(tar(info)) }]);
const bz2Of = (info: readonly TarEntry[]) => bzip2(tar(info));
const x: PackageSpec = { name: "x" };

test("all members of info/ that an index is made of are read, from both formats", async () => {
  const spec = { ...x, runExports: { weak: ["x >=1"] }, files: { "share/x": "x" } };
  for (const p of [buildConda(spec), buildTarBz2(spec)]) {
    const { members } = await readPackage(p.fileName, readAtBuffer(p.bytes), ALL);
    assert.deepEqual([...members.keys()].sort(), [...ALL].sort(), p.fileName);
    assert.deepEqual(
      JSON.parse(Buffer.from(members.get("info/run_exports.json") as Uint8Array).toString()),
      spec.runExports,
    );
  }
});

test("info/ may lie anywhere in a .tar.bz2, and reading stops when what was wanted is there", async () => {
  const payload = { name: "lib/big.bin", content: randomBytes(2_000_000) };
  const last = bz2Of([payload, ...infoOf(x)]);
  assert.equal((await recordOf("x-1.0-0.tar.bz2", last))["name"], "x");
  const first = bz2Of([...infoOf(x), payload]);
  // What follows the first block is not even there: it is never read.
  const reads: number[] = [];
  const file = readAtBuffer(first);
  await readPackage(
    "x-1.0-0.tar.bz2",
    {
      size: file.size,
      read: (offset, length) => {
        reads.push(offset + length);
        return file.read(offset, length);
      },
    },
    ["info/index.json"],
  );
  assert.ok(Math.max(...reads) < first.length, `${reads} of ${first.length}`);
});

/** The names that were read from an archive of these members, and how far into the file the reader went. */
async function readFrom(bytes: Buffer, wanted: InfoMember[], options?: ReadOptions) {
  const file = readAtBuffer(bytes);
  let reached = 0;
  const read = (offset: number, length: number) => {
    reached = Math.max(reached, offset + length);
    return file.read(offset, length);
  };
  const { members } = await readPackage("x-1.0-0.tar.bz2", { size: file.size, read }, wanted, options);
  return { names: [...members.keys()].sort(), reached };
}

test("once index.json was found, the first member outside info/ ends a .tar.bz2; what has not come counts as absent", async () => {
  const [index, ...others] = infoOf(x) as [TarEntry, ...TarEntry[]];
  const payload: TarEntry = { name: "lib/big.bin", content: randomBytes(2_500_000) };
  // No run_exports.json: it would be searched for to the end.
  const first = bz2Of([{ name: "info", type: "5" }, index, ...others, payload]);
  const { names, reached } = await readFrom(first, ALL);
  assert.deepEqual(names, ["info/about.json", "info/index.json", "info/paths.json"]);
  assert.ok(reached < first.length, `${reached} of ${first.length}`);

  const scattered = bz2Of([index, { name: "lib/link", type: "2", link: "big.bin" }, payload, ...others]);
  assert.deepEqual((await readFrom(scattered, ALL)).names, ["info/index.json"]);
  assert.deepEqual(
    (await readFrom(scattered, ALL, { beyondInfo: { members: ALL, bytes: Number.POSITIVE_INFINITY } })).names,
    names,
  );
  const near: TarEntry = { name: "bin/near", content: "x".repeat(5000) };
  const recipe: TarEntry = { name: "info/recipe/meta.yaml", content: "package:" };
  const asked: InfoMember[] = [...ALL, "info/recipe/meta.yaml", "info/meta.yaml"];
  const built = bz2Of([index, ...others, near, recipe, payload, { ...recipe, name: "info/meta.yaml" }]);
  assert.deepEqual((await readFrom(built, asked)).names, names);
  const withRecipe = await readFrom(built, asked, RECIPE_BEYOND_INFO);
  assert.deepEqual(withRecipe.names, [...names, "info/recipe/meta.yaml"]);
  assert.ok(withRecipe.reached < built.length);
  const far = bz2Of([index, ...others, payload, recipe]);
  assert.deepEqual((await readFrom(far, asked, RECIPE_BEYOND_INFO)).names, names);
  // index.json itself is searched for, past whatever else.
  const late = bz2Of([
    ...others,
    payload,
    { name: "info/index.json", type: "2", link: "x" },
    payload,
    index,
    ...others,
  ]);
  assert.deepEqual((await readFrom(late, ALL)).names, names);
  // Where it isn't wanted, any member of info/ is the beginning of info/.
  assert.deepEqual((await readFrom(bz2Of([index, payload, ...others]), ["info/paths.json"])).names, []);
});

test("the recipes that channeldata is made of are read when they are asked for", async () => {
  const recipes: InfoMember[] = ["info/recipe/meta.yaml", "info/recipe/meta.yaml.rendered", "info/meta.yaml"];
  const spec = { ...x, infoLast: recipes.map((name) => ({ name, content: name })) };
  for (const p of [buildConda(spec), buildTarBz2(spec)]) {
    const asked = await readPackage(p.fileName, readAtBuffer(p.bytes), ["info/index.json", ...recipes]);
    for (const name of recipes) assert.equal(Buffer.from(asked.members.get(name) ?? []).toString(), name);
    const unasked = await readPackage(p.fileName, readAtBuffer(p.bytes), ALL);
    assert.ok(recipes.every((name) => !unasked.members.has(name)));
  }
});

test("odd but honest archives are accepted: ./info, zip64, deflated, pax and GNU names, base-256 sizes, many streams", async () => {
  const info = infoOf(x);
  const index = info[0] as TarEntry;
  const dotted = info.map((e) => ({ ...e, name: `./${e.name}` }));
  const accepted: Record<string, [string, Buffer]> = {
    "dotted .conda": ["x-1.0-0.conda", condaOf(dotted)],
    "dotted .tar.bz2": ["x-1.0-0.tar.bz2", bz2Of(dotted)],
    zip64: [
      "x-1.0-0.conda",
      zip([{ name: "info-x-1.0-0.tar.zst", content: zstdCompressSync(tar(info)), zip64: true }]),
    ],
    "data descriptors": [
      "x-1.0-0.conda",
      zip([{ name: "info-x-1.0-0.tar.zst", content: zstdCompressSync(tar(info)), streamed: true }]),
    ],
    deflated: [
      "x-1.0-0.conda",
      zip([{ name: "info-x-1.0-0.tar.zst", content: zstdCompressSync(tar(info)), method: 8 }]),
    ],
    "pax path": ["x-1.0-0.conda", condaOf([pax({ path: "info/index.json" }), { ...index, name: "short" }])],
    "GNU name": [
      "x-1.0-0.conda",
      condaOf([
        { name: "././@LongLink", type: "L", content: "info/index.json\0" },
        { ...index, name: "short" },
      ]),
    ],
    "base-256": ["x-1.0-0.conda", condaOf([{ ...index, base256: true }])],
    "two zstd frames": [
      "x-1.0-0.conda",
      zip([
        {
          name: "info-x-1.0-0.tar.zst",
          content: Buffer.concat([
            zstdCompressSync(tar(info).subarray(0, 700)),
            zstdCompressSync(tar(info).subarray(700)),
          ]),
        },
      ]),
    ],
    "two bzip2 streams": [
      "x-1.0-0.tar.bz2",
      Buffer.concat([bzip2(tar(info).subarray(0, 700)), bzip2(tar(info).subarray(700))]),
    ],
    "equal copies": ["x-1.0-0.conda", condaOf([...info, index])],
    "renamed members": ["x-1.0-0.conda", zip([{ name: "info-other.tar.zst", content: zstdCompressSync(tar(info)) }])],
    "a large info": ["x-1.0-0.conda", condaOf([{ name: "info/licenses/l", content: randomBytes(600_000) }, ...info])],
  };
  for (const [what, [fileName, bytes]] of Object.entries(accepted)) {
    assert.equal((await recordOf(fileName, bytes))["version"], "1.0", what);
  }
});

test("a record tells whether only repodata v3 can hold it: by its schema, by extra depends, by what a spec uses", async () => {
  const v3 = async (index: Record<string, unknown>) =>
    (await madeOf("x-1.0-0.conda", condaOf(infoOf({ name: "x", index })))).v3;
  for (const index of [{ schema_version: 3 }, { extra_depends: { t: ["y"] } }, { depends: ['y[when="__win"]'] }])
    assert.equal(await v3(index), true, JSON.stringify(index));
  for (const index of [{ schema_version: 1 }, { extra_depends: {} }, { depends: ["y[version='>=1']", "when"] }])
    assert.equal(await v3(index), false, JSON.stringify(index));
  const began = performance.now();
  for (const spec of ["[".repeat(1_000_000), `a[${"when ".repeat(200_000)}`, `a[when${" ".repeat(1_000_000)}`])
    assert.equal(await v3({ depends: [spec] }), false);
  assert.ok(performance.now() - began < 10_000, "one of these took hours");
});

test("a member of a kind that nobody knows is a file, as POSIX has it", async () => {
  const info = infoOf(x).map((member) => (member.name === "info/index.json" ? { ...member, type: "Z" } : member));
  for (const [fileName, bytes] of [
    ["x-1.0-0.conda", condaOf(info)],
    ["x-1.0-0.tar.bz2", bz2Of(info)],
  ] as const)
    assert.equal((await recordOf(fileName, bytes))["name"], "x");
});

test("an info archive of gigabytes is refused without being read", async () => {
  const directory = condaOf([]);
  const size = 3 * 1024 ** 3;
  const end = Buffer.from(directory.subarray(directory.indexOf("PK\x01\x02")));
  // The directory of a small one, told of larger sizes and moved to the end.
  end.writeUInt32LE(size, 20);
  end.writeUInt32LE(size, 24);
  const at = size + 100;
  end.writeUInt32LE(at, end.indexOf("PK\x05\x06") + 16);
  let read = 0;
  const file = {
    size: at + end.length,
    read: async (offset: number, length: number) => {
      read += length;
      assert.ok(read < 1024 * 1024, `${read} bytes were read`);
      const bytes = Buffer.alloc(length);
      if (offset === 0) bytes.write("PK\x03\x04");
      if (offset + length > at) bytes.set(end.subarray(Math.max(0, offset - at)), Math.max(0, at - offset));
      return bytes;
    },
  };
  await assert.rejects(readPackage("x-1.0-0.conda", file, ALL), { code: "TOO_LARGE" });
});

test("a .tar.bz2 that unpacks to a thousand times its size before its info/ is given up", async () => {
  const zeros = bzip2(Buffer.alloc(45_000_000));
  const begin = bzip2(tar([{ name: "zeros", statedSize: 8 ** 11 - 1 }]).subarray(0, 512));
  const bytes = Buffer.concat([begin, zeros, zeros, Buffer.alloc(50_000)]);
  await assert.rejects(readPackage("x-1.0-0.tar.bz2", readAtBuffer(bytes), ALL), { code: "TOO_LARGE" });
});

test("a version is refused that would make rattler fail on all packages of its name, and no other", async () => {
  const versions = await loadVersions();
  const made = async (version: string) =>
    madeOf(`x-${version}-0.conda`, condaOf(infoOf({ name: "x", version }))).then(
      () => true,
      (e: MirrorError) => {
        assert.equal(e.code, "BAD_METADATA");
        return false;
      },
    );
  for (const version of [
    ...[
      "1.0__",
      "1.0_",
      "1_1",
      "18446744073709551615",
      "0000000000000000000000000001",
      "2!1+a.1__",
      "20261126123456789",
    ],
    ...[
      "1.0___",
      "18446744073709551616",
      "1.0a18446744073709551616",
      "99999999999999999999!1",
      "1+99999999999999999999",
    ],
    ...["1__0", "_1", "1..0", "1+", "1+2+3", "1!", "__"],
  ])
    assert.equal(await made(version), versions.isVersion(version), version);
});

test("broken and hostile packages are refused with a code, their name and a reason", async () => {
  const info = infoOf(x);
  const good = buildConda(x).bytes;
  const goodBz2 = buildTarBz2({ ...x, files: { f: randomBytes(50_000) }, infoLast: [] }).bytes;
  const indexed = (index: Record<string, unknown>) => condaOf(infoOf({ ...x, index }));
  const text = (indexText: string | Uint8Array) => condaOf(infoOf({ ...x, indexText }));
  const bomb = zip([
    {
      name: "info-x-1.0-0.tar.zst",
      content: zstdCompressSync(tar([{ name: "info/zeros", content: Buffer.alloc(40_000_000) }, ...info])),
    },
  ]);
  const flipped = Buffer.from(goodBz2);
  flipped[60] = (flipped[60] as number) ^ 64;
  const refused: [string, string, Uint8Array, string][] = [
    ["empty", "x-1.0-0.conda", Buffer.alloc(0), "NOT_A_PACKAGE"],
    ["text", "x-1.0-0.tar.bz2", Buffer.from("hello"), "NOT_A_PACKAGE"],
    ["web page", "x-1.0-0.conda", Buffer.from("<html>"), "NOT_A_PACKAGE"],
    ["other format", "x-1.0-0.conda", goodBz2, "NOT_A_PACKAGE"],
    ["cut .conda", "x-1.0-0.conda", good.subarray(0, good.length - 30), "DAMAGED"],
    ["cut .tar.bz2", "x-1.0-0.tar.bz2", goodBz2.subarray(0, 200), "DAMAGED"],
    ["changed .tar.bz2", "x-1.0-0.tar.bz2", flipped, "DAMAGED"],
    ["no index.json", "x-1.0-0.conda", condaOf([{ name: "info/about.json", content: "{}" }]), "NOT_A_PACKAGE"],
    ["no info", "x-1.0-0.conda", zip([{ name: "readme", content: Buffer.from("x") }]), "NOT_A_PACKAGE"],
    [
      "zipped folder",
      "x-1.0-0.conda",
      zip([{ name: "a/info-x-1.0-0.tar.zst", content: zstdCompressSync(tar(info)) }]),
      "NOT_A_PACKAGE",
    ],
    [
      "two infos",
      "x-1.0-0.conda",
      condaOf(info, [{ name: "info-y-1.0-0.tar.zst", content: zstdCompressSync(tar(info)) }]),
      "BAD_MEMBER",
    ],
    [
      "encrypted",
      "x-1.0-0.conda",
      zip([{ name: "info-x-1.0-0.tar.zst", content: zstdCompressSync(tar(info)), encrypted: true }]),
      "BAD_MEMBER",
    ],
    [
      "unknown zip method",
      "x-1.0-0.conda",
      zip([{ name: "info-x-1.0-0.tar.zst", content: zstdCompressSync(tar(info)), method: 12 }]),
      "BAD_MEMBER",
    ],
    [
      "wrong CRC",
      "x-1.0-0.conda",
      zip([{ name: "info-x-1.0-0.tar.zst", content: zstdCompressSync(tar(info)), method: 8, badCrc: true }]),
      "DAMAGED",
    ],
    [
      "traversal in the zip",
      "x-1.0-0.conda",
      condaOf(info, [{ name: "../evil", content: Buffer.from("x") }]),
      "BAD_MEMBER",
    ],
    [
      "traversal in the tar",
      "x-1.0-0.conda",
      condaOf([{ name: "info/../../evil", content: "x" }, ...info]),
      "BAD_MEMBER",
    ],
    [
      "traversal by pax",
      "x-1.0-0.conda",
      condaOf([pax({ path: "../evil" }), { name: "ok", content: "x" }, ...info]),
      "BAD_MEMBER",
    ],
    ["absolute", "x-1.0-0.conda", condaOf([{ name: "/etc/passwd", content: "x" }, ...info]), "BAD_MEMBER"],
    ["drive", "x-1.0-0.conda", condaOf([{ name: "C:\\evil", content: "x" }, ...info]), "BAD_MEMBER"],
    ["device", "x-1.0-0.conda", condaOf([{ name: "info/dev", type: "3" }, ...info]), "BAD_MEMBER"],
    ["pipe", "x-1.0-0.conda", condaOf([{ name: "info/pipe", type: "6" }, ...info]), "BAD_MEMBER"],
    [
      "differing copies",
      "x-1.0-0.conda",
      condaOf([...info, { name: "./info/index.json", content: "{}" }]),
      "BAD_MEMBER",
    ],
    ["tar checksum", "x-1.0-0.conda", condaOf([{ name: "info/a", badChecksum: true }, ...info]), "DAMAGED"],
    [
      "member beyond the end",
      "x-1.0-0.conda",
      condaOf([{ name: "info/index.json", content: "{}", statedSize: 3_000_000 }]),
      "DAMAGED",
    ],
    [
      "member too large",
      "x-1.0-0.conda",
      condaOf([{ name: "info/index.json", content: "{}", statedSize: 2 ** 33, base256: true }]),
      "TOO_LARGE",
    ],
    ...["info/index.json", "info/run_exports.json", "info/about.json"].map((name): [string, string, Buffer, string] => [
      `${name} of millions of values`,
      "x-1.0-0.conda",
      condaOf([{ name, content: `[${"{},".repeat(1_500_000)}{}]` }, ...info]),
      "TOO_LARGE",
    ]),
    ["bomb", "x-1.0-0.conda", bomb, "TOO_LARGE"],
    ["name", "y-1.0-0.conda", good, "NAME_MISMATCH"],
    ["version", "x-1.1-0.conda", good, "NAME_MISMATCH"],
    ["build", "x-1.0-1.conda", good, "NAME_MISMATCH"],
    ["no version", "x-1.0-0.conda", indexed({ version: undefined }), "BAD_METADATA"],
    ["number as version", "x-1.0-0.conda", indexed({ version: 1 }), "BAD_METADATA"],
    ["text as build_number", "x-1.0-0.conda", indexed({ build_number: "0" }), "BAD_METADATA"],
    ["null depends", "x-1.0-0.conda", indexed({ depends: null }), "BAD_METADATA"],
    ["subdir ../..", "x-1.0-0.conda", indexed({ subdir: "../.." }), "BAD_METADATA"],
    ["subdir with a slash", "x-1.0-0.conda", indexed({ subdir: "linux-64/x" }), "BAD_METADATA"],
    ["no JSON", "x-1.0-0.conda", text("{"), "BAD_METADATA"],
    ["a list", "x-1.0-0.conda", text("[]"), "BAD_METADATA"],
    ["not UTF-8", "x-1.0-0.conda", text(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), "BAD_METADATA"],
    [
      "key twice",
      "x-1.0-0.conda",
      text('{"name":"x","name":"y","version":"1.0","build":"0","build_number":0}'),
      "BAD_METADATA",
    ],
    [
      "nested deep",
      "x-1.0-0.conda",
      text(`{"name":"x","version":"1.0","build":"0","build_number":0,"d":${"[".repeat(100)}${"]".repeat(100)}}`),
      "BAD_METADATA",
    ],
    ["empty version part", "x-1..0-0.conda", condaOf(infoOf({ ...x, version: "1..0" })), "BAD_METADATA"],
  ];
  for (const [what, fileName, bytes, code] of refused) {
    await assert.rejects(
      recordOf(fileName, bytes),
      (e: unknown) => {
        assert.ok(e instanceof MirrorError, `${what}: ${e}`);
        assert.equal(e.code, code, `${what}: ${e.message}`);
        assert.ok(e.what.includes(fileName) && e.why.length > 5 && e.next.length > 5, `${what}: ${e.message}`);
        return true;
      },
      what,
    );
  }
});

test("a record is index.json as it stands: numbers, specs and unknown keys untouched, keys in order", async () => {
  const indexText =
    '{ "version": "1.0", "name": "x", "build": "0", "build_number": 0, "subdir": "noarch",\n "depends": ["Foo  >=1.0 , <2"], "big": 12345678901234567890, "f": 1.0, "has_prefix": true, "timestamp": 1500000000, "z": null }';
  const { record } = await madeOf("x-1.0-0.conda", condaOf(infoOf({ ...x, indexText })));
  assert.equal(
    Buffer.from(record).toString(),
    `{"big":12345678901234567890,"build":"0","build_number":0,"depends":["Foo  >=1.0 , <2"],"f":1.0,"md5":"${facts.md5}","name":"x","sha256":"${facts.sha256}","size":7,"subdir":"noarch","timestamp":1500000000,"version":"1.0","z":null}`,
  );
});

test("a package from before subdirs goes where its source says, else where platform and arch say, else to noarch", async () => {
  const bytes = (index: Record<string, unknown>) => condaOf(infoOf({ ...x, subdir: null, index }));
  const subdirOf = async (index: Record<string, unknown>, known?: string) =>
    (await recordOf("x-1.0-0.conda", bytes(index), known))["subdir"];
  assert.equal(await subdirOf({ platform: "osx", arch: "x86_64" }), "osx-64");
  assert.equal(await subdirOf({ platform: "win", arch: "x86" }), "win-32");
  assert.equal(await subdirOf({}), "noarch");
  assert.equal(await subdirOf({ platform: "osx", arch: "x86_64" }, "linux-64"), "linux-64");
});

test("property: damage anywhere in a package is refused with an error of ours, or leaves the record as it was", async () => {
  for (const p of [buildConda(x), buildTarBz2(x)]) {
    const whole = JSON.stringify(await recordOf(p.fileName, p.bytes));
    await fc.assert(
      fc.asyncProperty(
        fc.nat(p.bytes.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        async (at, flip, cut) => {
          const bytes = Buffer.from(cut ? p.bytes.subarray(0, at) : p.bytes);
          if (!cut) bytes[at] = (bytes[at] as number) ^ flip;
          try {
            // The info archive of a .conda is stored with no check of its own but zstd's; what passes is the whole file's hash to find.
            const record = await recordOf(p.fileName, bytes);
            if (p.fileName.endsWith(".bz2")) assert.equal(JSON.stringify(record), whole);
          } catch (e) {
            assert.ok(e instanceof MirrorError, String(e));
          }
        },
      ),
      { numRuns: 400 },
    );
  }
});
