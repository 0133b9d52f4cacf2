import { createHash } from "node:crypto";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { decode, encode } from "@msgpack/msgpack";
import { buildConda, buildTarBz2 } from "../packages/builder.ts";

export const a = buildConda({ name: "a", runExports: { weak: ["a >=1"] } });
export const b = buildTarBz2({ name: "b", version: "2.0", subdir: "linux-64" });
export const c = buildConda({ name: "c", subdir: "linux-64", depends: ["a"] });
/** One that only the v3 maps may hold. */
export const v3 = buildConda({ name: "n", depends: ['a[when="__unix"]'] });
export const packages = [a, b, c, v3];

/** One way in which a channel of these packages breaks: what is done to it, and what is to be found. */
export interface Breakage {
  readonly what: string;
  make(channel: string): void;
  /** "CODE subdir/file" of each finding. */
  readonly found: readonly string[];
  /** What mends it: the channel's own index, a source of its packages, or nothing. */
  readonly mend: "alone" | "source" | "never";
  /** What a quick look sees, where that is not the same. */
  readonly quick?: readonly string[];
}

/** Changes bytes of a file, and leaves size and time as they were: as a failing disk does. */
export function rot(path: string, at?: number): void {
  const { atime, mtime } = statSync(path);
  const bytes = readFileSync(path);
  const place = at ?? bytes.length >> 1;
  bytes[place] = (bytes[place] as number) ^ 0x55;
  writeFileSync(path, bytes);
  utimesSync(path, atime, mtime);
}

function edit(path: string, change: (text: string) => string): void {
  const before = readFileSync(path, "utf8");
  const after = change(before);
  if (after === before) throw new Error(`nothing to change in ${path}`);
  writeFileSync(path, after);
}

const cut = (path: string) => writeFileSync(path, readFileSync(path).subarray(0, statSync(path).size >> 1));

/** Where the shard of a name lies. */
export function shardOf(channel: string, subdir: string, name: string): string {
  const index = decode(zstdDecompressSync(readFileSync(join(channel, subdir, "repodata_shards.msgpack.zst")))) as {
    shards: Record<string, Uint8Array>;
  };
  const hex = Buffer.from(index.shards[name] as Uint8Array).toString("hex");
  return `shards/${hex}.msgpack.zst`;
}

/** Writes another shard of a name, and names it in the shard index. */
function otherShard(
  channel: string,
  subdir: string,
  name: string,
  change: (shard: Record<string, unknown>) => void,
): void {
  const folder = join(channel, subdir);
  const shard = decode(zstdDecompressSync(readFileSync(join(folder, shardOf(channel, subdir, name))))) as Record<
    string,
    unknown
  >;
  change(shard);
  const bytes = zstdCompressSync(encode(shard));
  const sha256 = createHash("sha256").update(bytes).digest();
  writeFileSync(join(folder, `shards/${sha256.toString("hex")}.msgpack.zst`), bytes);
  const path = join(folder, "repodata_shards.msgpack.zst");
  const index = decode(zstdDecompressSync(readFileSync(path))) as { shards: Record<string, Uint8Array> };
  index.shards[name] = sha256;
  writeFileSync(path, zstdCompressSync(encode(index)));
}

/** Removes all of a subdir's index but its repodata.json. */
export function dropForms(channel: string, subdir: string): void {
  for (const file of readdirSync(join(channel, subdir)))
    if (/^(?:current_)?repodata|^run_exports/.test(file) && file !== "repodata.json")
      rmSync(join(channel, subdir, file));
}

const noarch = (channel: string, file: string) => join(channel, "noarch", file);
const linux = (channel: string, file: string) => join(channel, "linux-64", file);

export const breakages: readonly Breakage[] = [
  {
    what: "a package that is gone",
    make: (channel) => rmSync(linux(channel, c.fileName)),
    found: [`PACKAGE_MISSING linux-64/${c.fileName}`],
    mend: "source",
  },
  {
    what: "a package that was cut",
    make: (channel) => cut(linux(channel, c.fileName)),
    found: [`PACKAGE_SIZE linux-64/${c.fileName}`],
    mend: "source",
  },
  {
    what: "a package with a rotten byte, size and time as they were",
    make: (channel) => rot(linux(channel, b.fileName)),
    found: [`PACKAGE_DAMAGED linux-64/${b.fileName}`],
    quick: [],
    mend: "source",
  },
  {
    what: "a package of v3 that is gone",
    make: (channel) => rmSync(noarch(channel, v3.fileName)),
    found: [`PACKAGE_MISSING noarch/${v3.fileName}`],
    mend: "source",
  },
  {
    what: "a folder in a package's place",
    make(channel) {
      rmSync(noarch(channel, a.fileName));
      mkdirSync(noarch(channel, a.fileName));
    },
    found: [`PACKAGE_MISSING noarch/${a.fileName}`],
    mend: "never",
  },
  {
    what: "a link that leads out of the channel, to the very bytes",
    make(channel) {
      renameSync(noarch(channel, a.fileName), `${channel}-aside`);
      symlinkSync(`${channel}-aside`, noarch(channel, a.fileName));
    },
    found: [`PACKAGE_OUTSIDE noarch/${a.fileName}`],
    quick: [],
    mend: "source",
  },
  {
    what: "a package that is listed under another's name",
    make(channel) {
      const other = buildConda({ name: "other", subdir: "linux-64" });
      writeFileSync(linux(channel, c.fileName), other.bytes);
      for (const file of ["repodata.json"])
        edit(linux(channel, file), (text) =>
          text
            .replace(c.sha256, other.sha256)
            .replace(c.md5, other.md5)
            .replace(`"size":${c.bytes.length}`, `"size":${other.bytes.length}`),
        );
      dropForms(channel, "linux-64");
    },
    found: [`PACKAGE_DIFFERS linux-64/${c.fileName}`],
    quick: [],
    mend: "never",
  },
  {
    what: "a package that no record names",
    make: (channel) =>
      writeFileSync(linux(channel, "d-1.0-0.conda"), buildConda({ name: "d", subdir: "linux-64" }).bytes),
    found: ["PACKAGE_UNLISTED linux-64/d-1.0-0.conda"],
    mend: "alone",
  },
  {
    what: "a subdir's index that is gone, its packages are there",
    make(channel) {
      for (const file of readdirSync(join(channel, "linux-64")))
        if (/^(?:current_)?repodata|^run_/.test(file)) rmSync(linux(channel, file));
    },
    found: [`PACKAGE_UNLISTED linux-64/${b.fileName}`, `PACKAGE_UNLISTED linux-64/${c.fileName}`],
    mend: "alone",
  },
  {
    what: "no repodata.json of noarch, its compressed form is there",
    make: (channel) => rmSync(noarch(channel, "repodata.json")),
    found: ["INDEX_MISSING noarch/repodata.json"],
    mend: "alone",
  },
  {
    what: "a repodata.json that was cut, its compressed form is whole",
    make: (channel) => cut(linux(channel, "repodata.json")),
    found: ["INDEX_UNREADABLE linux-64/repodata.json"],
    mend: "alone",
  },
  {
    what: "a repodata.json that was cut, and no other form of it",
    make(channel) {
      cut(linux(channel, "repodata.json"));
      for (const file of ["repodata.json.zst", "repodata.json.bz2"]) rmSync(linux(channel, file));
    },
    found: ["INDEX_UNREADABLE linux-64/repodata.json"],
    mend: "never",
  },
  {
    what: "a compressed index of an older state",
    make(channel) {
      const old = readFileSync(linux(channel, "repodata.json"), "utf8").replace('"depends":["a"]', '"depends":[]');
      writeFileSync(linux(channel, "repodata.json.zst"), zstdCompressSync(old));
    },
    found: ["FORM_DIFFERS linux-64/repodata.json.zst"],
    mend: "alone",
  },
  {
    what: "a compressed index with a rotten byte, size and time as they were",
    make: (channel) => rot(linux(channel, "repodata.json.zst")),
    found: ["FORM_UNREADABLE linux-64/repodata.json.zst"],
    mend: "alone",
  },
  {
    what: "a repodata.json.bz2 that was cut",
    make: (channel) => cut(linux(channel, "repodata.json.bz2")),
    found: ["FORM_UNREADABLE linux-64/repodata.json.bz2"],
    mend: "alone",
  },
  {
    what: "a shard that is gone",
    make: (channel) => rmSync(linux(channel, shardOf(channel, "linux-64", "c"))),
    found: ["SHARD_MISSING linux-64/shards"],
    mend: "alone",
  },
  {
    what: "a shard with a rotten byte, size and time as they were",
    make: (channel) => rot(linux(channel, shardOf(channel, "linux-64", "c"))),
    found: ["SHARD_DAMAGED linux-64/shards"],
    quick: [],
    mend: "alone",
  },
  {
    what: "a shard that is a link out of the channel, to the very bytes",
    make(channel) {
      const path = linux(channel, shardOf(channel, "linux-64", "c"));
      renameSync(path, `${channel}-aside`);
      symlinkSync(`${channel}-aside`, path);
    },
    found: ["SHARD_DAMAGED linux-64/shards"],
    quick: [],
    mend: "alone",
  },
  {
    what: "a shard whose record is another than the index's",
    make: (channel) =>
      otherShard(channel, "linux-64", "c", (shard) => {
        const records = shard["packages.conda"] as Record<string, Record<string, unknown>>;
        (records[c.fileName] as Record<string, unknown>)["depends"] = ["other"];
      }),
    found: ["SHARD_DIFFERS linux-64/shards"],
    quick: [],
    mend: "alone",
  },
  {
    what: "a shard that hides a package which the index lists",
    make: (channel) =>
      otherShard(channel, "noarch", "a", (shard) => {
        shard["removed"] = [a.fileName];
      }),
    found: ["SHARD_DIFFERS noarch/shards"],
    quick: [],
    mend: "alone",
  },
  {
    what: "a shard index of an older state",
    make(channel) {
      const path = linux(channel, "repodata_shards.msgpack.zst");
      const index = decode(zstdDecompressSync(readFileSync(path))) as { shards: Record<string, Uint8Array> };
      const { c: of, ...shards } = index.shards;
      writeFileSync(path, zstdCompressSync(encode({ ...index, shards: { ...shards, gone: of } })));
    },
    found: [
      "FORM_DIFFERS linux-64/repodata_shards.msgpack.zst",
      "FORM_DIFFERS linux-64/repodata_shards.msgpack.zst",
      "SHARD_DIFFERS linux-64/shards",
    ],
    quick: ["FORM_DIFFERS linux-64/repodata_shards.msgpack.zst", "FORM_DIFFERS linux-64/repodata_shards.msgpack.zst"],
    mend: "alone",
  },
  {
    what: "a shard index that was cut",
    make: (channel) => cut(linux(channel, "repodata_shards.msgpack.zst")),
    found: ["FORM_UNREADABLE linux-64/repodata_shards.msgpack.zst"],
    mend: "alone",
  },
  {
    what: "a current_repodata.json with an older record",
    make: (channel) =>
      edit(linux(channel, "current_repodata.json"), (text) => text.replace('"depends":["a"]', '"depends":[]')),
    found: ["FORM_DIFFERS linux-64/current_repodata.json"],
    mend: "alone",
  },
  {
    what: "a current_repodata.json that lacks a package",
    make: (channel) =>
      writeFileSync(
        linux(channel, "current_repodata.json"),
        '{"info":{"subdir":"linux-64"},"packages":{},"packages.conda":{}}',
      ),
    found: ["FORM_DIFFERS linux-64/current_repodata.json"],
    quick: [],
    mend: "alone",
  },
  {
    what: "a run_exports.json that lacks a package",
    make: (channel) =>
      edit(linux(channel, "run_exports.json"), (text) => text.replace(`"${c.fileName}":{"run_exports":{}}`, "")),
    found: ["FORM_DIFFERS linux-64/run_exports.json"],
    mend: "alone",
  },
  {
    what: "a run_exports.json that was cut",
    make: (channel) => cut(noarch(channel, "run_exports.json")),
    found: ["FORM_UNREADABLE noarch/run_exports.json"],
    mend: "alone",
  },
  {
    what: "a record whose name leads out of the channel",
    make(channel) {
      writeFileSync(join(channel, "x-1-0.conda"), a.bytes);
      edit(noarch(channel, "repodata.json"), (text) =>
        text.replace(
          '"packages.conda":{',
          `"packages.conda":{"../x-1-0.conda":{"name":"x","version":"1","build":"0","sha256":"${a.sha256}"},`,
        ),
      );
      dropForms(channel, "noarch");
    },
    found: ["RECORD_UNUSABLE noarch/../x-1-0.conda"],
    mend: "never",
  },
];
