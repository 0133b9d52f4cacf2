import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { deflateRawSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { MirrorError } from "../src/errors.ts";
import { type MirrorOptions, mirror } from "../src/main.ts";
import { packagesIn } from "../src/source/archive/packages-in.ts";
import { Walk } from "../src/source/archive/walk.ts";
import type { ByteStream, Place } from "../src/transfer/place.ts";
import { readAtPlace } from "../src/transfer/read-at-place.ts";
import { systemClock } from "../src/transfer/retry.ts";
import {
  type BuiltPackage,
  buildConda,
  buildTarBz2,
  pax,
  type TarEntry,
  tar,
  type ZipEntry,
  zip,
} from "./packages/builder.ts";
import { listed, temporary } from "./support/folders.ts";

const good = buildConda({ name: "good", subdir: "linux-64", files: { "share/g.bin": randomBytes(5000) } });
const evil = buildConda({ name: "evil", subdir: "linux-64", files: { "share/e.bin": randomBytes(5000) } });
const at = (name: string, p: BuiltPackage) => ({ name, content: p.bytes });
const first = at(`build/${good.fileName}`, good);
const EVIL = `build/${evil.fileName}`;

interface Took {
  readonly exitCode: number;
  readonly listed: readonly string[];
  readonly told: string;
  readonly warnings: string;
}

/** Mirrors an archive of these bytes, and looks that nothing came to lie outside the channel. */
async function take(name: string, bytes: Uint8Array, options: Partial<MirrorOptions> = {}): Promise<Took> {
  const folder = temporary();
  const path = join(folder, "in", name);
  const target = join(folder, "deep/er/channel");
  const { mkdirSync } = await import("node:fs");
  mkdirSync(dirname(path));
  writeFileSync(path, bytes);
  const warnings: string[] = [];
  const onEvent: MirrorOptions["onEvent"] = (e) => void (e.type === "warning" && warnings.push(e.message));
  const report = await mirror({ sources: [path], target, env: {}, onEvent, ...options });
  assert.deepEqual(readdirSync(folder).sort(), existsSync(join(folder, "deep")) ? ["deep", "in"] : ["in"]);
  assert.deepEqual(readdirSync(join(folder, "in")), [name]);
  const failed = report.packages.flatMap((p) => (p.outcome === "failed" ? [p.error] : []));
  return {
    exitCode: report.exitCode,
    listed: existsSync(join(target, "linux-64")) ? listed(target, "linux-64") : [],
    told: failed.map((e) => `${e.what}\n${e.why}`).join("\n"),
    warnings: warnings.join("\n"),
  };
}

/** Refused whole: nothing of it is taken. */
async function refusedWhole(bytes: Uint8Array, name: string, told: RegExp): Promise<void> {
  const took = await take(name, bytes);
  assert.deepEqual([told.source, took.exitCode, took.listed], [told.source, 3, []]);
  assert.match(took.told, told);
}

/** One member is refused by its name, and the other package is taken. */
async function refusedAlone(bytes: Uint8Array, name: string, told: RegExp): Promise<void> {
  const took = await take(name, bytes);
  assert.deepEqual([told.source, took.exitCode, took.listed], [told.source, 1, [good.fileName]], took.told);
  assert.match(took.told, told);
  assert.match(took.told, /evil/);
}

test("a zip with a name that leads out of it is refused whole, with the name", async () => {
  for (const name of [
    `../${evil.fileName}`,
    `a/../../${evil.fileName}`,
    `/${EVIL}`,
    `C:\\${evil.fileName}`,
    `a\\..\\..\\x`,
    "../readme.txt",
  ])
    await refusedWhole(
      zip([first, at(name, evil)]),
      "a.zip",
      new RegExp(`member ${JSON.stringify(name).replace(/[\\/.*+]/g, "\\$&")} would be written outside`),
    );
});

test("a tar with a name that leads out of it is refused whole, though packages came before", async () => {
  for (const name of [`../${evil.fileName}`, `/${EVIL}`, "x/../../y"])
    await refusedWhole(gzipSync(tar([first, at(name, evil)])), "a.tgz", /would be written outside/);
  const long = pax({ path: `../${"x".repeat(200)}/${evil.fileName}` });
  await refusedWhole(gzipSync(tar([first, long, at("x", evil)])), "a.tgz", /would be written outside/);
});

test("members of a zip that can't be read are refused by name, and the others are taken", async () => {
  const table: [Partial<ZipEntry>, RegExp][] = [
    [{ encrypted: true }, /its member build\/evil-1\.0-0\.conda is encrypted/],
    [{ method: 9 }, /its member build\/evil-1\.0-0\.conda uses zip method 9/],
    [{ badCrc: true }, /crc32 differs[\s\S]*a\.zip\/build\/evil/],
    [{ badCrc: true, method: 8 }, /crc32 differs[\s\S]*a\.zip\/build\/evil/],
    [{ method: 8, statedSize: 100 }, /its member build\/evil-1\.0-0\.conda unpacks to more than the 100 bytes/],
    [
      { method: 8, statedSize: 90_000 },
      /its member build\/evil-1\.0-0\.conda unpacks to \d+ bytes, the zip's directory says 90000/,
    ],
    [{ statedSize: 100 }, /its member build\/evil-1\.0-0\.conda is stored, but its sizes differ/],
  ];
  for (const [how, told] of table) await refusedAlone(zip([first, { ...at(EVIL, evil), ...how }]), "a.zip", told);
});

test("zip64, data descriptors, comments, prefixes of nothing and folders are no reason to refuse", async () => {
  const entries = [first, at(EVIL, evil)];
  const commented = zip(entries);
  const comment = Buffer.alloc(65_535, "c");
  commented.writeUInt16LE(comment.length, commented.length - 2);
  const table: Record<string, Uint8Array> = {
    zip64: zip(entries.map((e) => ({ ...e, zip64: true }))),
    descriptors: zip(entries.map((e) => ({ ...e, streamed: true, method: 8 }))),
    comment: Buffer.concat([commented, comment]),
    folders: zip([
      { name: "build/", content: new Uint8Array(0) },
      { name: "x.conda/", content: new Uint8Array(0) },
      ...entries,
    ]),
    backslashes: zip([first, at(EVIL.replace("/", "\\"), evil)]),
    "names that are not UTF-8": Buffer.from(
      zip([{ name: "caf\u00e9!", content: new Uint8Array(3) }, ...entries])
        .toString("latin1")
        .replaceAll("caf\u00c3\u00a9!", "caf\u00e9\u00e8!"),
      "latin1",
    ),
  };
  for (const [what, bytes] of Object.entries(table)) {
    const took = await take("a.zip", bytes);
    assert.deepEqual([what, took.exitCode, took.listed], [what, 0, [evil.fileName, good.fileName]], took.told);
  }
});

test("a zip that was cut is refused; one that lost its beginning names what it has not", async () => {
  const bytes = zip([first, at(EVIL, evil)]);
  for (const length of [1, 4, 100, bytes.length - 30, bytes.length - 1])
    await refusedWhole(bytes.subarray(0, length), "a.zip", /end of a zip directory|cut|directory breaks off/);
  const beheaded = await take("a.zip", bytes.subarray(50));
  assert.deepEqual([beheaded.exitCode, beheaded.listed], [3, []]);
  const holed = Buffer.from(bytes);
  holed.fill(0, bytes.indexOf(EVIL) - 30, bytes.indexOf(EVIL));
  await refusedAlone(holed, "a.zip", /its member build\/evil-1\.0-0\.conda is not where the directory says/);
  await refusedWhole(new Uint8Array(0), "a.zip", /it is empty/);
  await refusedWhole(Buffer.from("<!DOCTYPE html><html>sign in</html>".padEnd(600)), "a.zip", /it is a web page/);
  await refusedWhole(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 4]), "a.tgz", /compressed with xz/);
});

test("bombs are refused by what their directory says, or when they have unpacked to too much", async () => {
  const zeros = Buffer.alloc(200_000_000);
  const began = performance.now();
  await refusedAlone(
    zip([first, { name: EVIL, content: zeros, method: 8 }]),
    "a.zip",
    /\d+ bytes of it unpack to 200000000/,
  );
  await refusedAlone(
    zip([first, { name: "evil.zip", content: zeros, method: 8 }]),
    "a.zip",
    /\d+ bytes of it unpack to 200000000/,
  );
  // Its directory lies: it says little, and holds much.
  const lying = zip([first, { name: EVIL, content: zeros, method: 8, statedSize: 5000 }]);
  await refusedAlone(lying, "a.zip", /unpacks to more than the 5000 bytes/);
  await refusedWhole(gzipSync(tar([first, { name: "zeros", content: zeros }])), "a.tgz", /unpack to more than \d+/);
  await refusedAlone(zip([first, { name: "evil.tgz", content: gzipSync(zeros), method: 8 }]), "a.zip", /evil\.tgz/);
  const many = Array.from({ length: 1001 }, (_, i) => ({ name: `${i}.zip`, content: zip([]) }));
  await refusedWhole(zip(many), "a.zip", /more than 1000/);
  assert.ok(performance.now() - began < 30_000);
});

test("members that share bytes are refused, and so is what unpacks to far more than it holds in all", async () => {
  const bytes = zip([first, at(EVIL, evil), at("x/other-1.0-0.conda", evil)]);
  bytes.writeUInt32LE(
    bytes.readUInt32LE(bytes.indexOf("PK\u0001\u0002") + 42),
    bytes.lastIndexOf("PK\u0001\u0002") + 42,
  );
  await refusedWhole(bytes, "a.zip", /its members build\/good-1\.0-0\.conda and x\/other-1\.0-0\.conda share bytes/);
  const options = { key: "k", members: undefined, scratch: async () => "", retry: RETRY, warn: () => undefined };
  const walk = new Walk("a.zip", options, new AbortController().signal);
  walk.size = 1000;
  walk.spend(1024 ** 3);
  walk.spend(100_000);
  assert.throws(() => walk.spend(1), /a\.zip: too much inside/);
});

test("an archive inside that can't be read is named, and everything else is taken", async () => {
  const inside = zip([at("x/evil-1.0-0.conda", evil)]);
  const table: [Omit<ZipEntry, "link">, RegExp][] = [
    [{ name: "evil.zip", content: inside.subarray(0, 500) }, /a\.zip\/evil\.zip\nit has no end of a zip directory/],
    [{ name: "evil.zip", content: inside, encrypted: true }, /a\.zip\/evil\.zip\nits member evil\.zip is encrypted/],
    [{ name: "evil.zip", content: inside, method: 8, badCrc: true }, /its member evil\.zip fails its CRC/],
    [{ name: "evil.tar.gz", content: Buffer.from("nothing of the kind") }, /evil\.tar\.gz: not an archive/],
    [{ name: "evil.zip", content: zip([at("../x.txt", evil)]) }, /"\.\.\/x\.txt" would be written outside/],
  ];
  for (const [member, told] of table) {
    await refusedAlone(zip([member, first]), "a.zip", told);
    if (!member.encrypted && !member.badCrc)
      await refusedAlone(
        gzipSync(tar([member, first])),
        "a.tgz",
        new RegExp(told.source.replace("a\\.zip", "a\\.tgz")),
      );
  }
});

test("archives deeper than three inside each other are not looked into, and a warning names them", async () => {
  let bytes = zip([at(EVIL, evil)]);
  for (let i = 0; i < 3; i++) bytes = zip([{ name: `${i}.zip`, content: bytes }]);
  const took = await take("a.zip", bytes);
  assert.deepEqual([took.exitCode, took.listed], [0, [evil.fileName]]);
  const deeper = await take("a.zip", zip([first, { name: "deep.zip", content: bytes }]));
  assert.deepEqual([deeper.exitCode, deeper.listed], [0, [good.fileName]]);
  assert.match(deeper.warnings, /deep\.zip\/2\.zip\/1\.zip\/0\.zip lies too deep/);
});

test("links of a tar lead to packages of the same tar, and nowhere else", async () => {
  const link = (name: string, type: "1" | "2", to: string): TarEntry => ({ name, type, link: to });
  const linked = evil.fileName.replace("evil", "good");
  assert.equal(linked, good.fileName);
  const fine = await take(
    "a.tgz",
    gzipSync(
      tar([
        link(`early/${good.fileName}`, "2", `../build/${good.fileName}`),
        first,
        link(`hard/${good.fileName}`, "1", `build/${good.fileName}`),
        link("latest.txt", "2", "/etc/passwd"),
      ]),
    ),
  );
  assert.deepEqual([fine.exitCode, fine.listed], [0, [good.fileName]], fine.told);
  for (const [type, to] of [
    ["2", "/etc/passwd"],
    ["2", "../../../etc/passwd"],
    ["1", "etc/passwd"],
    ["1", "../x"],
    ["2", evil.fileName],
  ] as const)
    await refusedAlone(gzipSync(tar([first, link(EVIL, type, to)])), "a.tgz", new RegExp(`it is a link to ${to}`));
});

test("links of a zip lead to packages of the same zip, and nowhere else", async () => {
  const link = (name: string, to: string): ZipEntry => ({ name, content: Buffer.from(to), link: true });
  const fine = await take(
    "a.zip",
    zip([
      link(`early/${good.fileName}`, `../build/${good.fileName}`),
      first,
      link("latest.txt", "/etc/passwd"),
      link("all.zip", "build"),
    ]),
  );
  assert.deepEqual([fine.exitCode, fine.listed], [0, [good.fileName]], fine.told);
  for (const to of ["/etc/passwd", "../../../etc/passwd", evil.fileName, "\u001b[31m"])
    await refusedAlone(
      zip([first, link(EVIL, to)]),
      "a.zip",
      /it is a link to [\w./\\{}[-]+, which the archive does not hold/,
    );
  await refusedAlone(
    zip([first, { ...link(EVIL, "x".repeat(5000)), method: 8 }]),
    "a.zip",
    /has 5000 bytes, 4096 are allowed/,
  );
});

test("a zip whose directory holds more than it counts is refused: packages would be missed", async () => {
  const bytes = zip([first, at(EVIL, evil)]);
  bytes.writeUInt16LE(1, bytes.length - 12);
  await refusedWhole(bytes, "a.zip", /holds more than the 1 members that it says/);
});

test("what a tar may not hold, and what is damaged, condemns it with its member's name", async () => {
  const before = [first, { name: "later/notes.txt", content: "x" }];
  await refusedWhole(gzipSync(tar([...before, { name: "dev/null", type: "3" }])), "a.tgz", /dev\/null is a device/);
  await refusedWhole(
    gzipSync(tar([...before, { name: "x", badChecksum: true }])),
    "a.tgz",
    /fails its checksum, at its member later\/notes\.txt/,
  );
  const whole = tar([...before, at(EVIL, evil)]);
  await refusedWhole(whole.subarray(0, whole.length - 3000), "a.tar", /build\/evil-1\.0-0\.conda/);
  const gz = gzipSync(whole);
  for (const length of [20, 3000, gz.length - 9, gz.length - 1])
    await refusedWhole(gz.subarray(0, length), "a.tgz", /unexpected end of file/);
  const wrong = Buffer.from(gz);
  wrong.writeUInt32LE(7, wrong.length - 8);
  await refusedWhole(wrong, "a.tgz", /incorrect data check/);
  await refusedWhole(gzipSync(randomBytes(5000)), "a.tgz", /no tar/);
  await refusedWhole(Buffer.concat([gz, Buffer.from("rubbish behind it")]), "a.tgz", /can't be unpacked/);
});

test("long names, sizes in base 256 and pax headers are read", async () => {
  const folder = "f/".repeat(120);
  const took = await take(
    "a.tgz",
    gzipSync(
      tar([
        pax({ path: `${folder}${good.fileName}`, size: String(good.bytes.length) }),
        { name: "short", content: good.bytes },
        { name: "L", type: "L", content: `${folder}${evil.fileName}\0` },
        { ...at("short", evil), base256: true },
      ]),
    ),
  );
  assert.deepEqual([took.exitCode, took.listed], [0, [evil.fileName, good.fileName]]);
});

test("other bytes under the name of a package in the same archive are a conflict, not a surprise", async () => {
  const other = buildConda({ name: "good", subdir: "linux-64", files: { "share/g.bin": randomBytes(5000) } });
  const took = await take("a.zip", zip([first, at(`copy/${good.fileName}`, other)]));
  assert.deepEqual([took.exitCode, took.listed], [1, [good.fileName]]);
});

test("zips and tars that Python writes are read", async () => {
  const folder = temporary();
  writeFileSync(join(folder, good.fileName), good.bytes);
  writeFileSync(join(folder, evil.fileName), evil.bytes);
  const script = `
import zipfile, tarfile, sys
a, b = "${good.fileName}", "${evil.fileName}"
for name, method in (("s", zipfile.ZIP_STORED), ("d", zipfile.ZIP_DEFLATED)):
    with zipfile.ZipFile(name + ".zip", "w", method) as z:
        z.write(a, "b\\u00fcild/" + a)
        with z.open(b, "w", force_zip64=True) as f: f.write(open(b, "rb").read())
class Pipe:
    def __init__(self, name): self.f = open(name, "wb")
    def write(self, d): return self.f.write(d)
    def flush(self): self.f.flush()
with zipfile.ZipFile(Pipe("p.zip"), "w", zipfile.ZIP_DEFLATED) as z:
    z.write(a); z.write(b)
for name, form in (("p", tarfile.PAX_FORMAT), ("g", tarfile.GNU_FORMAT), ("u", tarfile.USTAR_FORMAT)):
    with tarfile.open(name + ".tgz", "w:gz", format=form) as t:
        t.add(a, "b\\u00fcild/" + "x" * 80 + "/" + a); t.add(b)
`;
  const ran = spawnSync("python3", ["-c", script], { cwd: folder, encoding: "utf8" });
  assert.equal(ran.status, 0, ran.stderr);
  for (const name of ["s.zip", "d.zip", "p.zip", "p.tgz", "g.tgz", "u.tgz"]) {
    const target = join(temporary(), "channel");
    const report = await mirror({ sources: [join(folder, name)], target, env: {} });
    assert.deepEqual([name, report.exitCode, report.added], [name, 0, 2]);
  }
});

const RETRY = { attempts: 0, longestWaitMs: 0, clock: systemClock };

/** Bytes in memory as a place that does ranges, or gives all of it whatever is asked. */
function placeOf(bytes: Uint8Array, origin: string, ranges: boolean): Place {
  return {
    origin,
    async open(request): Promise<ByteStream> {
      const start = ranges ? (request.start ?? 0) : 0;
      const part = bytes.subarray(start, ranges ? request.end : undefined);
      const chunks = async function* () {
        for (let i = 0; i < part.length; i += 1000) yield part.subarray(i, i + 1000);
      };
      return { start, size: bytes.length, version: "1", chunks: chunks(), cancel: () => undefined };
    },
  };
}

/** Looks through bytes and reads all that is offered; whatever is thrown must be one of ours. */
async function drained(bytes: Uint8Array, ranges: boolean, scratch: string): Promise<void> {
  const signal = AbortSignal.timeout(20_000);
  const options = { key: "k", members: undefined, scratch: async () => scratch, retry: RETRY, warn: () => undefined };
  const typed = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (e) {
      if (!(e instanceof MirrorError)) throw e;
    }
  };
  await typed(async () => {
    for await (const ref of packagesIn(placeOf(bytes, "a.zip", ranges), options, signal)) {
      await typed(async () => {
        const stream = await ref.open({}, signal);
        if (stream !== "unchanged") for await (const _ of stream.chunks);
      });
      await typed(async () => void (await (await readAtPlace(ref, signal)).read(0, 1)));
    }
  });
  assert.ok(!signal.aborted, "it took too long");
}

test("bytes that are anything, or nearly an archive, never hang and never throw what is none of ours", async () => {
  const scratch = temporary();
  const nested = zip([
    { name: "in.zip", content: zip([at("x", good), { ...at("y", evil), method: 8, zip64: true }]), method: 8 },
    { name: "in.tgz", content: gzipSync(tar([at(`z/${good.fileName}`, good)])) },
    { ...at(EVIL, evil), method: 8, streamed: true },
  ]);
  const small = buildTarBz2({ name: "small" });
  const tgz = gzipSync(
    tar([at(small.fileName, small), { name: "l", type: "2", link: "x" }, pax({ path: "q" }), { name: "q" }]),
  );
  const plain = tar([at(small.fileName, small), pax({ path: `q/${good.fileName}` }), { name: "q", content: "x" }]);
  const deflate = deflateRawSync(Buffer.from("x"));
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.uint8Array({ maxLength: 600 }),
        fc
          .constantFrom("PK\u0005\u0006", "\u001f\u008b\u0008", "(\u00b5/\u00fd", "BZh9")
          .chain((magic) =>
            fc
              .uint8Array({ maxLength: 400 })
              .map((rest) => Buffer.concat([Buffer.from(magic, "latin1"), rest, deflate])),
          ),
        fc
          .tuple(
            fc.constantFrom(nested, tgz, plain),
            fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(255)), { minLength: 1, maxLength: 6 }),
            fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
          )
          .map(([bytes, changes, cut]) => {
            const changed = Buffer.from(bytes);
            for (const [where, to] of changes) changed[Math.floor(where * (changed.length - 1))] = to;
            return cut === null ? changed : changed.subarray(0, Math.floor(cut * changed.length));
          }),
      ),
      fc.boolean(),
      (bytes, ranges) => drained(bytes, ranges, scratch),
    ),
    { numRuns: 400 },
  );
});
