import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { layoutOf } from "../src/bundle/layout.ts";
import { type BundleEntry, type Manifest, readManifest, writeManifest } from "../src/bundle/manifest.ts";
import { tarHeader } from "../src/codec/tar-header.ts";
import { temporary } from "./support/folders.ts";

const hex = (digits: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${digits}}$`));
const entry = fc.record({
  subdir: fc.constantFrom("linux-64", "noarch", "osx-arm64"),
  fileName: fc.stringMatching(/^[a-z][a-z0-9_]{0,120}-1\.0-0\.conda$/),
  size: fc.oneof(fc.nat(5000), fc.integer({ min: 8 ** 11 - 2, max: 8 ** 11 + 2 })),
  sha256: hex(64),
  md5: hex(32),
  record: hex(64),
  here: fc.boolean(),
});
const manifests = fc
  .record({ since: fc.option(hex(64), { nil: null }), packages: fc.array(entry, { maxLength: 8 }) })
  .map(({ since, packages }): Manifest => {
    const entries = new Map<string, BundleEntry>(packages.map((p) => [`${p.subdir}/${p.fileName}`, { ...p }]));
    const sorted = [...entries.keys()].sort().map((path) => [path, entries.get(path) as BundleEntry] as const);
    return { since, indexes: new Map([["noarch", { size: 7, sha256: "0".repeat(64) }]]), entries: new Map(sorted) };
  });

test("a manifest that is written is read as it was, and tells the place of every byte", () => {
  fc.assert(
    fc.property(manifests, (manifest) => {
      assert.deepEqual(readManifest(writeManifest(manifest), "x"), manifest);
      const { members, size } = layoutOf(manifest);
      let at = 0;
      for (const m of members) {
        assert.equal(m.start, at + m.header.length);
        at = Math.ceil((m.start + m.size) / 512) * 512;
      }
      assert.equal(size, at + 1024);
    }),
    { numRuns: 200 },
  );
});

test("whatever a manifest says, it is read or refused, and no name leads out of the channel", () => {
  const names = fc.constantFrom(
    "../a-1-0.conda",
    "/etc/a-1-0.conda",
    "noarch/../a-1-0.conda",
    "noarch/sub/a-1-0.conda",
    "noarch\\a-1-0.conda",
    "C:/a-1-0.conda",
    "noarch/a.conda",
    "NOARCH/a-1-0.conda",
    "noarch/a-1-0.conda\0",
    "noarch/.a-1-0.conda",
    "a-1-0.conda",
    "__proto__",
  );
  const good: BundleEntry = {
    subdir: "noarch",
    fileName: "a-1-0.conda",
    size: 1,
    sha256: "0".repeat(64),
    md5: "0".repeat(32),
    record: "0".repeat(64),
    here: true,
  };
  fc.assert(
    fc.property(names, (name) => {
      const text = writeManifest({ since: null, indexes: new Map(), entries: new Map([[name, good]]) });
      assert.throws(() => readManifest(text, "x"), { code: "BAD_BUNDLE" });
    }),
  );
  const text = String(
    writeManifest({ since: null, indexes: new Map(), entries: new Map([["noarch/a-1-0.conda", good]]) }),
  );
  const line = text.split("\n").find((l) => l.startsWith('"noarch')) as string;
  for (const changed of [
    text.replace(line, `${line},\n${line}`),
    text.replace('"here":true', '"here":1'),
    text.replace("0000", "000g"),
    text.replace('"version":1', '"version":2'),
    text.replace('"size":1', '"size":-1'),
    `${text} `,
  ])
    assert.throws(() => readManifest(Buffer.from(changed), "x"), { code: "BAD_BUNDLE" }, changed);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.json().map((j) => Buffer.from(j)),
        fc.uint8Array(),
      ),
      (bytes) => {
        assert.throws(() => readManifest(bytes, "x"), { code: "BAD_BUNDLE" });
      },
    ),
  );
});

test("tar headers are those that Python reads, with long names and sizes beyond 8 GiB", () => {
  const members = [
    ["bundle.json", 12],
    [`noarch/${"n".repeat(190)}-1.0-0.conda`, 513],
    [`linux-64/${"m".repeat(80)}-1.0-0.conda`, 8 ** 11 - 1],
    ["linux-64/large-1.0-0.conda", 8 ** 11],
  ] as const;
  const file = join(temporary(), "headers");
  const script = `
import io, sys, tarfile
data = open(sys.argv[1], "rb").read()
at = 0
while at < len(data):
    member = tarfile.TarFile(fileobj=io.BytesIO(data[at:])).firstmember
    print(member.name, member.size)
    at += member.offset_data
`;
  writeFileSync(file, Buffer.concat(members.map(([path, size]) => tarHeader(path, size))));
  const { stdout, stderr } = spawnSync("python3", ["-c", script, file], { encoding: "utf8" });
  assert.equal(stdout, members.map(([path, size]) => `${path} ${size}\n`).join(""), stderr);
});
