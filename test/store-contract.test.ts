// needs minio, versitygw
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { goProgram } from "../scripts/go-programs.ts";
import { PreconditionFailed, type Store } from "../src/target/store.ts";
import { type S3Server, startS3 } from "./servers/s3-server.ts";
import { temporary } from "./support/folders.ts";
import { needs } from "./support/needs.ts";
import { openStoreAt } from "./support/stores.ts";

/** Every store of files, with what opens another one over the same files. */
const STORES = {
  folder: {
    needed: { skip: false as const },
    prepare: async () => {
      const folder = temporary();
      return (): Promise<Store> => openStoreAt(folder, {});
    },
  },
  minio: { needed: needs(goProgram("minio"), "minio"), prepare: () => inBucket("minio") },
  versitygw: { needed: needs(goProgram("versitygw"), "versitygw"), prepare: () => inBucket("versitygw") },
};

async function inBucket(kind: "minio" | "versitygw"): Promise<() => Promise<Store>> {
  const server: S3Server = await startS3(kind);
  const bucket = await server.bucket();
  return () => openStoreAt(`${server.url}/${bucket}/a channel+1`, server.env, { type: "s3" });
}

const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const bytesAt = async (store: Store, path: string) => Buffer.from((await store.get(path))?.bytes ?? []).toString();
const listed = async (store: Store, folder: string) => {
  const found: string[] = [];
  for await (const file of store.list(folder)) found.push(`${file.path} ${file.size}`);
  return found.sort();
};

for (const [name, { needed, prepare }] of Object.entries(STORES)) {
  // Before the tests: what is started while they run ends with the one that started it.
  const reopen = needed.skip === false ? await prepare() : () => Promise.reject(new Error("nothing to open"));
  describe(`a store in ${name}`, needed, () => {
    let store: Store;
    before(async () => {
      store = await reopen();
    });

    test("gives back what was put, and the version that listing and asking tell too", async () => {
      const version = await store.put("noarch/a-1-0.conda", Buffer.from("some bytes"), "any");
      assert.equal(await bytesAt(store, "noarch/a-1-0.conda"), "some bytes");
      assert.equal((await store.get("noarch/a-1-0.conda"))?.version, version);
      const { modified, ...told } = (await store.stat("noarch/a-1-0.conda")) ?? {};
      assert.deepEqual(told, { path: "noarch/a-1-0.conda", size: 10, version });
      const isNow = (time = Date.now()) => Math.abs(time - Date.now()) < 60_000;
      assert.ok(isNow(modified), `written at ${modified}`);
      for await (const file of store.list("noarch")) assert.ok(file.version === version && isNow(file.modified));
      for await (const file of store.list("noarch", undefined, (name) => name !== "a-1-0.conda"))
        assert.notEqual(file.path, "noarch/a-1-0.conda");
      assert.equal(await (await reopen()).stat("noarch/a-1-0.conda").then((s) => s?.version), version);
    });

    test("what is not there is undefined, and lists nothing", async () => {
      assert.equal(await store.get("noarch/none.json"), undefined);
      assert.equal(await store.stat("noarch/none.json"), undefined);
      assert.equal(await store.digest("noarch/none.json"), undefined);
      assert.deepEqual(await listed(store, "linux-64"), []);
      await store.remove("noarch/none.json");
    });

    test("lists the files right inside a folder, and the folders at the top", async () => {
      await store.put("osx-64/b+c-1!2-0.conda", Buffer.from("b"), "any");
      await store.put("osx-64/shards/deep.msgpack.zst", Buffer.from("deep"), "any");
      assert.deepEqual(await listed(store, "osx-64"), ["osx-64/b+c-1!2-0.conda 1"]);
      const folders = await store.folders();
      assert.ok(folders.includes("noarch") && folders.includes("osx-64"), folders.join());
    });

    test("of two that must be the first, one is", async () => {
      const write = (text: string) => store.put("win-64/first.json", Buffer.from(text), "absent");
      const outcomes = await Promise.allSettled(["one", "two", "three", "four"].map(write));
      assert.equal(outcomes.filter((o) => o.status === "fulfilled").length, 1);
      for (const o of outcomes)
        if (o.status === "rejected") assert.ok(o.reason instanceof PreconditionFailed, o.reason);
    });

    test("of two that write over one version, one does; a version that is gone is written over by none", async () => {
      const first = await store.put("win-64/second.json", Buffer.from("0"), "any");
      const write = (text: string) => store.put("win-64/second.json", Buffer.from(text), { version: first });
      // One by one on a folder, whose lock keeps writers apart.
      const second = await write("1");
      await assert.rejects(write("2"), PreconditionFailed);
      assert.equal(await bytesAt(store, "win-64/second.json"), "1");
      await store.remove("win-64/second.json");
      await assert.rejects(store.put("win-64/second.json", Buffer.from("3"), { version: second }), PreconditionFailed);
      assert.equal(await store.get("win-64/second.json"), undefined);
    });

    test("a staged package arrives whole, small and large, and its hashes are known", async () => {
      const folder = mkdtempSync(join(await store.staging(), "contract-"));
      for (const size of [10, 300_000, 40 * 1024 * 1024]) {
        const bytes = Buffer.concat([randomBytes(10), Buffer.alloc(size - 10, size)]);
        const stagedPath = join(folder, `staged-${size}`);
        writeFileSync(stagedPath, bytes);
        const md5 = createHash("md5").update(bytes).digest("hex");
        const facts = { sha256: sha256Of(bytes), md5, size };
        const path = `linux-64/size-${size}-0.conda`;
        // On a folder the staged file becomes the stored one; elsewhere its facts spare a reading.
        await store.put(path, size > 1000 ? { stagedPath, facts } : { stagedPath }, "absent");
        assert.deepEqual(await store.digest(path), facts);
        const again = { stagedPath: `${stagedPath}-again`, facts };
        writeFileSync(again.stagedPath, bytes);
        await assert.rejects(store.put(path, again, "absent"), PreconditionFailed);
        await store.put(path, again, "any");
        assert.equal(sha256Of((await store.get(path))?.bytes ?? Buffer.alloc(0)), facts.sha256);
      }
    });

    test("a body that is made while it is written is what was made, in memory or not", async () => {
      for (const pieces of [3, 40]) {
        const piece = Buffer.alloc(256 * 1024);
        const made = function* () {
          for (let i = 0; i < pieces; i++) yield piece.fill(i);
        };
        await store.put("noarch/made.json", made(), "any");
        const whole = createHash("sha256");
        for (const p of made()) whole.update(p);
        assert.equal(sha256Of((await store.get("noarch/made.json"))?.bytes ?? Buffer.alloc(0)), whole.digest("hex"));
      }
    });

    test("what must come after something else waits for it, and does not come when that fails", async () => {
      let go: () => void = () => undefined;
      const waiting = store.put(
        "noarch/after.json",
        Buffer.from("x"),
        "any",
        undefined,
        new Promise<void>((r) => (go = r)),
      );
      assert.equal(await store.get("noarch/after.json"), undefined);
      go();
      await waiting;
      assert.equal(await bytesAt(store, "noarch/after.json"), "x");
      const failing = Promise.reject(new Error("the other file failed"));
      failing.catch(() => undefined);
      await assert.rejects(
        store.put("noarch/never.json", Buffer.from("x"), "any", undefined, failing),
        /the other file/,
      );
      assert.equal(await store.get("noarch/never.json"), undefined);
    });

    test("files that are named by their content are written once, few and many, and mended where they are cut", async () => {
      const files = (count: number) =>
        Array.from({ length: count }, (_, i) => ({
          path: `shards/${i}.msgpack.zst`,
          bytes: Buffer.from(`shard ${i}`),
        }));
      await store.putNew("linux-64/", files(3));
      await store.put("linux-64/shards/1.msgpack.zst", Buffer.from("cut"), "any");
      await store.putNew("linux-64/", files(100));
      assert.equal((await listed(store, "linux-64/shards")).length, 100);
      assert.equal(await bytesAt(store, "linux-64/shards/1.msgpack.zst"), "shard 1");
    });

    test("finds those of many names that are there", async () => {
      const there = Array.from({ length: 30 }, (_, i) => `p-${i}-0.conda`);
      await Promise.all(there.map((n) => store.put(`linux-aarch64/${n}`, Buffer.from(n), "any")));
      const asked = [...there, ...Array.from({ length: 30 }, (_, i) => `q-${i}-0.conda`), "a-0-0.conda"];
      for (const names of [asked, asked.slice(25, 35)]) {
        const found = await store.find?.("linux-aarch64", names);
        if (found) assert.deepEqual([...found.keys()].sort(), there.filter((n) => names.includes(n)).sort());
      }
    });

    test("a file can be read from its place, from anywhere in it", async () => {
      await store.put("noarch/place-1-0.conda", Buffer.from("0123456789"), "any");
      await store.stat("noarch/place-1-0.conda");
      const place = store.placeOf("noarch/place-1-0.conda");
      const stream = await place?.open({ start: 4 }, new AbortController().signal);
      if (!stream || stream === "unchanged") return assert.fail();
      const parts: Uint8Array[] = [];
      for await (const chunk of stream.chunks) parts.push(chunk);
      assert.equal(Buffer.concat(parts).toString(), "0123456789".slice(stream.start));
    });

    test("what was removed is gone", async () => {
      await store.put("noarch/gone.json", Buffer.from("x"), "any");
      await store.remove("noarch/gone.json");
      assert.equal(await store.get("noarch/gone.json"), undefined);
      await store.close();
    });
  });
}
