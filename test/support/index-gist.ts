import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { decode } from "@msgpack/msgpack";
import { OWN_FOLDER } from "../../src/target/folder.ts";

/** Files that an index is made of. */
const PLAIN = ["repodata.json", "repodata.json.zst", "current_repodata.json", "run_exports.json", "index.html"];
const SHARDS = "repodata_shards.msgpack.zst";
const TOP = ["channeldata.json", "index.html"];

/**
 * What clients find in a channel, by where they find it: each index file and the shard of each package name, as JSON,
 * without `removed`, which tells of the past. On the way everything is held to what clients insist on: files parse, shards that
 * are named are there and have the bytes that their name promises, no file is there that could be mistaken for another.
 */
export function gistOf(channel: string): Map<string, string> {
  const gist = new Map<string, string>();
  for (const subdir of readdirSync(channel)) {
    if (subdir === OWN_FOLDER || TEMPORARY.test(subdir)) continue;
    if (TOP.includes(subdir)) {
      gist.set(subdir, readFileSync(join(channel, subdir), "utf8"));
      continue;
    }
    for (const name of PLAIN) {
      const path = join(channel, subdir, name);
      if (existsSync(path)) gist.set(`${subdir}/${name}`, plainGist(readFileSync(path), name));
    }
    if (existsSync(join(channel, subdir, SHARDS))) shardGists(channel, subdir, gist);
    strangers(channel, subdir);
  }
  return gist;
}

/** A file that has our temporary name: no client takes it for anything. */
export const TEMPORARY = /^\.[0-9a-f]{12}\.tmp$/;

function strangers(channel: string, subdir: string): void {
  for (const entry of readdirSync(join(channel, subdir), { withFileTypes: true })) {
    const known =
      [...PLAIN, SHARDS, "shards", "repodata_from_packages.json"].includes(entry.name) ||
      /\.(conda|tar\.bz2)$/.test(entry.name);
    assert.ok(known || TEMPORARY.test(entry.name), `${subdir}/${entry.name} could be mistaken for something`);
    assert.equal(entry.isDirectory(), entry.name === "shards", entry.name);
  }
  for (const name of shardsOf(channel, subdir)) assert.match(name, /^[0-9a-f]{64}\.msgpack\.zst$/);
}

function shardsOf(channel: string, subdir: string): string[] {
  const folder = join(channel, subdir, "shards");
  return existsSync(folder) ? readdirSync(folder).filter((name) => !TEMPORARY.test(name)) : [];
}

/** Which shards, named by an index or not, are other than their name says: a run that is killed leaves the one that it writes cut. */
export function cutShards(channel: string): string[] {
  const cut: string[] = [];
  for (const subdir of readdirSync(channel))
    for (const name of shardsOf(channel, subdir))
      if (name !== `${hash("sha256", readFileSync(join(channel, subdir, "shards", name)), "hex")}.msgpack.zst`)
        cut.push(`${subdir}/shards/${name}`);
  return cut;
}

function plainGist(bytes: Uint8Array, name: string): string {
  if (name.endsWith(".html")) return Buffer.from(bytes).toString("utf8");
  const index = JSON.parse(Buffer.from(name.endsWith(".zst") ? zstdDecompressSync(bytes) : bytes).toString("utf8"));
  delete index.removed;
  return JSON.stringify(index);
}

function shardGists(channel: string, subdir: string, gist: Map<string, string>): void {
  const { info, shards } = unpack(join(channel, subdir, SHARDS)) as {
    info: { shards_base_url: string };
    shards: Record<string, Uint8Array>;
  };
  gist.set(`${subdir}/${SHARDS}`, JSON.stringify(info));
  for (const [name, sha256] of Object.entries(shards)) {
    const path = join(channel, subdir, info.shards_base_url, `${Buffer.from(sha256).toString("hex")}.msgpack.zst`);
    const shard = unpack(path) as { removed?: unknown };
    assert.equal(hash("sha256", readFileSync(path), "hex"), Buffer.from(sha256).toString("hex"), path);
    delete shard.removed;
    gist.set(`${subdir}/shards of ${name}`, JSON.stringify(shard));
  }
}

function unpack(path: string): unknown {
  return decode(zstdDecompressSync(readFileSync(path)));
}
