// needs registry
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash, hash, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { mirror } from "../src/main.ts";
import { systemClock } from "../src/transfer/retry.ts";
import { type BuiltPackage, buildConda, buildTarBz2 } from "./packages/builder.ts";
import { startRegistry, USER } from "./servers/registry.ts";
import { repodata, temporary, written } from "./support/folders.ts";
import { fixtures, needs } from "./support/needs.ts";
import { at, indexOf, layer, listedIn, pulled, pushing, registry, registryIsHere } from "./support/oci.ts";

const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;

test("packages and indexes lie in the registry where rattler and oras look for them", registryIsHere, async () => {
  const source = temporary();
  const push = pushing();
  const packages = [
    buildConda({ name: "_weird", version: "1!2.0+local", build: "h_0", subdir: "linux-64", files: { f: "x" } }),
    buildTarBz2({ name: "lib", files: { "lib/l": randomBytes(300_000) } }),
  ];
  const [conda, bz2] = packages as [BuiltPackage, BuiltPackage];
  written(source, packages);
  const report = await push(`oci://${registry.host}/org/one`, [source]);
  assert.deepEqual([report.exitCode, report.added], [0, 2], JSON.stringify(report.packages));
  const image = pulled("org/one/linux-64/zzz_weird", "1__e__2.0__p__local-h_0");
  const main = layer(image, "application/vnd.conda.package.v2");
  assert.equal(main.digest, `sha256:${conda.sha256}`);
  assert.equal(main.annotations["org.opencontainers.image.title"], conda.fileName);
  assert.equal(main.annotations["org.conda.md5"], conda.md5);
  assert.equal(main.annotations["creationTime"], "2026.11.25.12.34");
  assert.equal(image.config.mediaType, "application/vnd.unknown.config.v1+json");
  const index = registry.blob(
    "org/one/linux-64/zzz_weird",
    layer(image, "application/vnd.conda.info.index.v1+json").digest,
  );
  assert.equal(JSON.parse(index.toString()).name, "_weird");
  const info = gunzipSync(
    registry.blob("org/one/linux-64/zzz_weird", layer(image, "application/vnd.conda.info.v1.tar+gzip").digest),
  );
  assert.deepEqual(
    ["about.json", "index.json", "paths.json"].map((n) => info.includes(`${n}\0`)),
    [true, true, true],
  );
  assert.equal(
    layer(pulled("org/one/noarch/lib", "1.0-0"), "application/vnd.conda.package.v1").digest,
    `sha256:${bz2.sha256}`,
  );
  assert.deepEqual(listedIn("org/one", "linux-64"), [conda.fileName]);
  assert.deepEqual(listedIn("org/one", "noarch"), [bz2.fileName]);
  assert.deepEqual(registry.tags("org/one/noarch/repodata.json"), ["2026.11.25.12.34", "latest"]);
});

test(
  "a run repeated uploads nothing; what is new is merged into the index that is there, whoever repeats it",
  registryIsHere,
  async () => {
    const [first, second] = [temporary(), temporary()];
    const target = `oci://${registry.host}/org/two`;
    const push = pushing();
    const [a, b] = [buildConda({ name: "a" }), buildConda({ name: "b" })];
    written(first, [a]);
    written(second, [b]);
    await push(target, [first]);
    for (const again of [push, pushing()]) {
      const before = registry.requests.length;
      const report = await again(target, [first]);
      assert.deepEqual([report.exitCode, report.added, report.kept], [0, 0, 1]);
      const sent = registry.requests.slice(before).filter((r) => r.method !== "GET" && r.method !== "HEAD");
      assert.deepEqual(sent, []);
    }
    const before = indexOf("org/two", "noarch")["packages.conda"][a.fileName];
    // Another machine, which has never seen the channel.
    assert.equal((await pushing()(target, [second])).added, 1);
    assert.deepEqual(listedIn("org/two", "noarch"), [a.fileName, b.fileName]);
    assert.deepEqual(indexOf("org/two", "noarch")["packages.conda"][a.fileName], before);
  },
);

test("both formats of a build are layers of one image", registryIsHere, async () => {
  const source = temporary();
  const spec = { name: "both", files: { f: "x" } };
  const [conda, bz2] = [buildConda(spec), buildTarBz2(spec)];
  written(source, [conda, bz2]);
  assert.equal((await pushing()(`oci://${registry.host}/org/three`, [source])).added, 2);
  const image = pulled("org/three/noarch/both", "1.0-0");
  assert.equal(layer(image, "application/vnd.conda.package.v1").digest, `sha256:${bz2.sha256}`);
  assert.equal(layer(image, "application/vnd.conda.package.v2").digest, `sha256:${conda.sha256}`);
  assert.equal(image.layers.length, 4);
});

test(
  "a tag with other bytes is refused, skipped or replaced, as asked, whether an index lists it or not",
  registryIsHere,
  async () => {
    const [one, two] = ["one", "two"].map((f) => buildConda({ name: "a", files: { f } })) as [
      BuiltPackage,
      BuiltPackage,
    ];
    const [first, second] = [written(temporary(), [one]), written(temporary(), [two])];
    const digest = (channel: string) =>
      layer(pulled(`${channel}/noarch/a`, "1.0-0"), "application/vnd.conda.package.v2").digest;
    for (const channel of ["org/four", "org/five"]) {
      const target = `oci://${registry.host}/${channel}`;
      await pushing()(target, first);
      // In the second channel the run before was killed when its index was not written yet.
      if (channel === "org/five")
        registry.misdeeds.set(`GET /v2/${channel}/noarch/repodata.json/manifests/latest`, missing(1000));
      const refused = await pushing()(target, second);
      const [outcome] = refused.packages;
      assert.ok(outcome?.outcome === "failed" && outcome.error.code === "CONFLICT", JSON.stringify(refused));
      assert.equal((await pushing()(target, second, { onConflict: "skip" })).skipped, 1);
      assert.equal(digest(channel), `sha256:${one.sha256}`);
      registry.misdeeds.clear();
      assert.equal((await pushing()(target, second, { onConflict: "replace" })).replaced, 1);
      assert.equal(digest(channel), `sha256:${two.sha256}`);
      assert.equal(indexOf(channel, "noarch")["packages.conda"][two.fileName]?.["sha256"], two.sha256);
    }
  },
);
const missing = (times: number) => Array.from({ length: times }, () => ({ status: 404, body: "{}" }));

test(
  "what versions of a package have in common is sent once, however many are sent at the same time",
  registryIsHere,
  async () => {
    const versions = Array.from({ length: 12 }, (_, i) => buildConda({ name: "many", version: `${i}.0` }));
    const report = await pushing()(`oci://${registry.host}/org/common`, written(temporary(), versions));
    assert.deepEqual([report.exitCode, report.added], [0, 12]);
    const empty = encodeURIComponent(`sha256:${hash("sha256", "{}")}`);
    const sent = registry.requests.filter(
      (r) => r.method === "PUT" && r.path.includes("/common/noarch/many/") && r.path.includes(empty),
    );
    assert.equal(sent.length, 1);
  },
);

test(
  "a manifest whose blobs the registry does not see for a moment is sent again; other refusals are final",
  registryIsHere,
  async () => {
    const refusal = (...codes: string[]) => ({
      status: 400,
      body: JSON.stringify({ errors: codes.map((code) => ({ code, message: "refused" })) }),
    });
    const sent = (path: string) =>
      registry.requests.filter((r) => r.method === "PUT" && r.path.startsWith(path)).length;
    const [seen, unseen] = [buildConda({ name: "seen" }), buildConda({ name: "unseen" })];
    const path = (channel: string, name: string) => `/v2/org/${channel}/noarch/${name}/manifests/`;
    registry.misdeeds.set(`PUT ${path("moment", "unseen")}`, [
      refusal("DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"),
      { ...refusal("BLOB_UNKNOWN"), status: 404 },
    ]);
    registry.misdeeds.set("PUT /v2/org/moment/noarch/repodata.json/manifests/latest", [
      refusal("MANIFEST_BLOB_UNKNOWN"),
    ]);
    registry.misdeeds.set(`PUT ${path("final", "seen")}`, [refusal("MANIFEST_INVALID")]);
    const report = await pushing()(`oci://${registry.host}/org/moment`, written(temporary(), [seen, unseen]));
    assert.deepEqual(
      [report.exitCode, report.added, sent(path("moment", "unseen"))],
      [0, 2, 3],
      JSON.stringify(report),
    );
    assert.deepEqual(listedIn("org/moment", "noarch"), [seen.fileName, unseen.fileName]);
    const refused = await pushing()(`oci://${registry.host}/org/final`, written(temporary(), [seen]));
    assert.deepEqual([refused.failed, sent(path("final", "seen"))], [1, 1]);
    registry.misdeeds.clear();
  },
);

test("runs that write to one channel at once lose no record of each other", registryIsHere, async () => {
  const target = `oci://${registry.host}/org/six`;
  const packages = Array.from({ length: 12 }, (_, i) => buildConda({ name: `p${i}` }));
  const sources = written(temporary(), packages);
  // The clock is the real one: each waits a little for the others to show.
  const runs = [0, 1, 2].map((n) =>
    pushing()(
      target,
      sources.filter((_, i) => i % 3 === n),
      { clock: systemClock },
    ),
  );
  for (const report of await Promise.all(runs)) assert.deepEqual([report.exitCode, report.failed], [0, 0]);
  assert.deepEqual(listedIn("org/six", "noarch"), packages.map((p) => p.fileName).sort());
});

test(
  "a channel that another tool pushed keeps its records; forms of its index that we don't write go",
  registryIsHere,
  async () => {
    const repository = "org/seven/noarch/repodata.json";
    const put = async (path: string, body: Buffer, type: string, method = "PUT") =>
      fetch(`${registry.url}/v2/${repository}/${path}`, { method, body, headers: { "content-type": type } });
    const record = {
      name: "old",
      version: "1.0",
      build: "0",
      build_number: 0,
      depends: ["x  >=1 "],
      odd: { kept: true },
    };
    const json = Buffer.from(
      `{"info": {"subdir": "noarch"}, "packages": {"old-1.0-0.tar.bz2": ${JSON.stringify(record)}, "Held_-1.0-0.tar.bz2": ${JSON.stringify({ ...record, name: "held_" })}}}`,
    );
    const shards = Buffer.from("an index of shards");
    const upload = async (bytes: Buffer) => {
      const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
      const begun = await fetch(`${registry.url}/v2/${repository}/blobs/uploads/`, { method: "POST" });
      const to = new URL(begun.headers.get("location") as string, registry.url);
      to.searchParams.set("digest", digest);
      const done = await fetch(to, { method: "PUT", body: new Uint8Array(bytes) });
      assert.equal(done.status, 201);
      return { digest, size: bytes.length };
    };
    const layers = [
      { mediaType: "application/vnd.conda.repodata.v1+json", ...(await upload(json)) },
      { mediaType: "application/vnd.conda.repodata.shards.v1", ...(await upload(shards)) },
    ];
    const config = { mediaType: "application/vnd.unknown.config.v1+json", ...(await upload(Buffer.from("{}"))) };
    const type = "application/vnd.oci.image.manifest.v1+json";
    const manifest = { schemaVersion: 2, mediaType: type, config, layers };
    assert.equal((await put("manifests/latest", Buffer.from(JSON.stringify(manifest)), type)).status, 201);
    const fresh = buildConda({ name: "new" });
    const report = await pushing()(`oci://${registry.host}/org/seven`, written(temporary(), [fresh]));
    assert.equal(report.exitCode, 0, JSON.stringify(report));
    assert.deepEqual(
      listedIn("org/seven", "noarch"),
      [fresh.fileName, "old-1.0-0.tar.bz2", "Held_-1.0-0.tar.bz2"].sort(),
    );
    assert.deepEqual(indexOf("org/seven", "noarch").packages["old-1.0-0.tar.bz2"], record);
    assert.equal(pulled(repository, "latest").layers.length, 2);
    // What goes may have a name that no registry can hold, and no image.
    const settings = { delete_grace_days: 0 };
    const options = { delete: true, maxDelete: "100%", settings };
    const gone = await pushing()(`oci://${registry.host}/org/seven`, written(temporary(), [fresh]), options);
    assert.deepEqual([gone.exitCode, gone.removed], [0, 2], JSON.stringify(gone));
    assert.deepEqual(listedIn("org/seven", "noarch"), [fresh.fileName]);
  },
);

test(
  "a package is sent in parts where it is large, again where the registry stumbles, and its unfinished upload is given up",
  registryIsHere,
  async () => {
    const source = temporary();
    const big = buildConda({ name: "big", files: { f: randomBytes(70 * 1024 * 1024) } });
    const sources = written(source, [big]);
    const channel = "org/eight";
    registry.misdeeds.set(`POST /v2/${channel}/noarch/big/blobs/uploads/`, [
      { status: 503, headers: { "retry-after": "1" } },
    ]);
    registry.misdeeds.set(`PATCH /v2/${channel}/noarch/big/blobs/uploads/`, [{ status: 502 }]);
    const before = registry.requests.length;
    const report = await pushing()(`oci://${registry.host}/${channel}`, sources);
    assert.deepEqual([report.exitCode, report.added], [0, 1], JSON.stringify(report.packages));
    const mine = registry.requests.slice(before).filter((r) => r.path.includes("/big/blobs/uploads/"));
    assert.ok(mine.filter((r) => r.method === "PATCH").length >= 3);
    assert.ok(mine.some((r) => r.method === "DELETE"));
    const image = pulled(`${channel}/noarch/big`, "1.0-0");
    assert.equal(layer(image, "application/vnd.conda.package.v2").digest, `sha256:${big.sha256}`);
  },
);

test(
  "a wrong password is refused with what to do next, and stands in no line of the log, whatever its level",
  registryIsHere,
  async () => {
    const password = "wr0ng-and-secret";
    const pair = Buffer.from(`${USER.username}:${password}`).toString("base64");
    for (const auth of ["token", "basic"] as const) {
      const guarded = await startRegistry(auth);
      const sources = written(temporary(), [buildConda({ name: "a" })]);
      for (const inAddress of [false, true]) {
        const target = `oci://${inAddress ? `${USER.username}:${password}@` : ""}${guarded.host}/org/x`;
        const env = {
          PATH: process.env["PATH"],
          HOME: temporary(),
          NODE_NO_WARNINGS: "1",
          ...(inAddress ? {} : { ORAS_USER: USER.username, ORAS_PASS: password }),
        };
        const args = [cli, "mirror", ...sources, "--target-path", target, "--log-level", "trace", "-v"];
        const { code, said } = await new Promise<{ code: number; said: string }>((resolve) => {
          execFile(process.execPath, args, { env }, (e, out, err) =>
            resolve({ code: Number(e?.code ?? 0), said: out + err }),
          );
        });
        assert.equal(code, 3, said);
        assert.match(said, /ORAS_USER|credentials/);
        assert.ok(!said.includes(password) && !said.includes(pair), said);
      }
    }
  },
);

test(
  "a channel in a registry is a source too, with its own records, and what is unchanged is not fetched",
  registryIsHere,
  async () => {
    const guarded = await startRegistry("token");
    const packages = [
      buildConda({ name: "_weird", version: "1!2.0+local", subdir: "linux-64", files: { f: randomBytes(400_000) } }),
      buildTarBz2({ name: "lib", files: { l: "l" } }),
    ];
    const env = { ORAS_USER: USER.username, ORAS_PASS: USER.password };
    const channel = `oci://${guarded.host}/org/src`;
    const [built, copied] = [temporary(), temporary()];
    await pushing()(channel, written(temporary(), packages), { env });
    await mirror({ sources: written(temporary(), packages), target: built, env: {} });
    // Anybody may pull; the token server gives a token to those who say nothing of themselves.
    const pull = () => mirror({ sources: [channel], target: copied, env: { HOME: temporary() } });
    const report = await pull();
    assert.deepEqual([report.exitCode, report.added], [0, 2], JSON.stringify(report.packages));
    for (const subdir of ["linux-64", "noarch"])
      assert.deepEqual(repodata(copied, subdir)["packages.conda"], repodata(built, subdir)["packages.conda"]);
    assert.deepEqual(readFileSync(join(copied, "noarch", packages[1]?.fileName as string)), packages[1]?.bytes);
    const blobs = () =>
      guarded.requests.filter((r) => r.method === "GET" && /\/(?:zzz_weird|lib)\/blobs\//.test(r.path)).length;
    const before = blobs();
    assert.ok(before >= 2);
    assert.equal((await pull()).kept, 2);
    assert.equal(blobs(), before);
    assert.ok(guarded.requests.every((r) => !r.path.startsWith("/v2/") || !r.authorization?.startsWith("Basic")));
    const lost = await mirror({
      sources: [`oci://${guarded.host}/org/nothing`],
      target: temporary(),
      env: { HOME: temporary() },
    });
    assert.equal(lost.exitCode, 3);
  },
);

test("names that no registry takes are refused one by one", registryIsHere, async () => {
  const source = temporary();
  const packages = [buildConda({ name: "Upper" }), buildConda({ name: "trailing_" }), buildConda({ name: "fine" })];
  written(source, packages);
  const report = await pushing()(`oci://${registry.host}/org/nine`, [source]);
  assert.deepEqual([report.exitCode, report.added, report.failed], [1, 1, 2]);
  for (const o of report.packages) if (o.outcome === "failed") assert.match(o.error.what, /no registry can hold it/);
  assert.deepEqual(listedIn("org/nine", "noarch"), ["fine-1.0-0.conda"]);
});

for (const [auth, kinds] of [
  ["token", ["oras", "url", "rattler", "docker"]],
  ["basic", ["oras", "rattler"]],
] as const) {
  test(`who we are is told to a registry that asks by ${auth}, and shown to nobody else`, registryIsHere, async () => {
    const guarded = await startRegistry(auth);
    const pair = Buffer.from(`${USER.username}:${USER.password}`).toString("base64");
    const p = buildConda({ name: "a" });
    const sources = written(temporary(), [p]);
    for (const kind of kinds) {
      const home = temporary();
      const env: Record<string, string> = { HOME: home, PATH: process.env["PATH"] ?? "" };
      let target = `oci://${guarded.host}/org/${kind}`;
      if (kind === "oras") Object.assign(env, { ORAS_USER: USER.username, ORAS_PASS: USER.password });
      if (kind === "url") target = `oci://${USER.username}:${USER.password}@${guarded.host}/org/url`;
      if (kind === "rattler") {
        env["RATTLER_AUTH_FILE"] = join(home, "auth.json");
        const entry = { BasicHTTP: { username: USER.username, password: USER.password } };
        writeFileSync(env["RATTLER_AUTH_FILE"], JSON.stringify({ "127.0.0.1": entry }));
      }
      if (kind === "docker") {
        mkdirSync(join(home, ".docker"));
        writeFileSync(join(home, ".docker/config.json"), JSON.stringify({ auths: { [guarded.host]: { auth: pair } } }));
      }
      const told: string[] = [];
      const report = await mirror({ sources, target, env, clock: at, onEvent: (e) => told.push(JSON.stringify(e)) });
      assert.deepEqual([report.exitCode, report.added], [0, 1], `${kind}: ${JSON.stringify(report.packages)}`);
      assert.deepEqual(listedIn(`org/${kind}`, "noarch", guarded), [p.fileName]);
      assert.ok(!`${told}${JSON.stringify(report)}`.includes(USER.password));
      assert.ok(!`${told}${JSON.stringify(report)}`.includes(pair));
    }
    const basic = guarded.requests.filter((r) => r.authorization?.startsWith("Basic "));
    if (auth === "token")
      assert.ok(
        basic.every((r) => r.path.startsWith("/token")),
        "the password goes to the token server alone",
      );
    const nobody = mirror({ sources, target: `oci://${guarded.host}/org/x`, env: { HOME: temporary() }, clock: at });
    await assert.rejects(
      nobody.then((r) => Promise.reject(r.packages[0] && "error" in r.packages[0] ? r.packages[0].error : r)),
      /ORAS_USER|credentials/,
    );
  });
}

test("every shared fixture goes to a registry, every blob agrees with its digest", {
  skip: registryIsHere.skip || needs(join(fixtures, "packages"), "shared fixtures").skip,
}, async () => {
  const target = `oci://${registry.host}/org/fixtures`;
  const push = pushing();
  const report = await push(target, [join(fixtures, "packages")]);
  assert.equal(report.exitCode, 0, JSON.stringify(report.packages.filter((p) => p.outcome === "failed")));
  assert.ok(report.added >= 44);
  for (const p of report.packages) {
    if (p.outcome !== "added") continue;
    const [, name, version, build, kind] = /^(.+)-([^-]+)-([^-]+?)\.(conda|tar\.bz2)$/.exec(p.fileName) ?? [];
    const image = pulled(`org/fixtures/${p.subdir}/${name}`, `${version}-${build}`);
    layer(image, `application/vnd.conda.package.${kind === "conda" ? "v2" : "v1"}`);
    assert.ok(listedIn("org/fixtures", p.subdir).includes(p.fileName));
  }
  const before = registry.requests.length;
  const again = await push(target, [join(fixtures, "packages")]);
  assert.equal(again.added, 0);
  assert.deepEqual(
    registry.requests.slice(before).filter((r) => r.method !== "GET" && r.method !== "HEAD"),
    [],
  );
});
