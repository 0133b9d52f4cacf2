import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type MirrorOptions, type MirrorReport, mirror } from "../src/main.ts";
import type { Clock } from "../src/transfer/retry.ts";
import { type BuiltPackage, buildConda, buildTarBz2 } from "./packages/builder.ts";
import { anaconda } from "./servers/anaconda.ts";
import { artifactory } from "./servers/artifactory.ts";
import { cloudsmith } from "./servers/cloudsmith.ts";
import { fileServer } from "./servers/file-server.ts";
import { gitea } from "./servers/gitea.ts";
import { prefixDev } from "./servers/prefix-dev.ts";
import { quetz } from "./servers/quetz.ts";
import { type Protocol, type ServiceServer, serviceServer } from "./servers/service.ts";
import { temporary, watchLeftovers, written } from "./support/folders.ts";

const leftovers = watchLeftovers();
/** One line a service. Each takes a package of 60 KB and more in one request that "brings" it. */
const SERVICES: Record<string, () => Protocol> = {
  "prefix.dev": () => prefixDev,
  Quetz: () => quetz,
  Artifactory: () => artifactory,
  "anaconda.org": anaconda,
  Cloudsmith: cloudsmith,
  Gitea: () => gitea,
};

/** Time that passes at once. */
function fastClock(): Clock & { waits: number[] } {
  const waits: number[] = [];
  let now = 1_700_000_000_000;
  return {
    waits,
    now: () => now,
    random: () => 0.5,
    sleep: async (ms) => {
      waits.push(ms);
      now += ms;
    },
  };
}

const filled = (text: string) => ({ "share/f.txt": text.repeat(200_000 / text.length) });
const conda = buildConda({ name: "a", version: "1.0", files: filled(Math.random().toString(36)) });
const tarBz2 = buildTarBz2({ name: "b", version: "2.0", subdir: "linux-64", files: filled("xyz") });
const other = buildConda({ name: "a", version: "1.0", depends: ["something-else"] });
const packages = [conda, tarBz2];

async function run(server: ServiceServer, sources: readonly string[], more: Partial<MirrorOptions> = {}) {
  const warnings: string[] = [];
  const report = await mirror({
    sources,
    target: server.target,
    targetType: server.type,
    env: server.env,
    clock: fastClock(),
    settings: { retry_attempts: 2 },
    onEvent: (e) => {
      if (e.type === "warning") warnings.push(e.message);
    },
    ...more,
  });
  return { report, warnings };
}

const files = (list: readonly BuiltPackage[]) => written(temporary(), list);
const counts = ({ added, replaced, kept, skipped, failed }: MirrorReport) => ({
  added,
  replaced,
  kept,
  skipped,
  failed,
});
const none = { added: 0, replaced: 0, kept: 0, skipped: 0, failed: 0 };
const errorOf = (report: MirrorReport) => {
  const failure = report.packages.find((p) => p.outcome === "failed");
  assert.ok(failure?.outcome === "failed", JSON.stringify(counts(report)));
  return failure.error;
};
const storedIn = (server: ServiceServer) =>
  Object.fromEntries([...server.stored].map(([path, { sha256 }]) => [path, sha256]));
const all = { [`noarch/${conda.fileName}`]: conda.sha256, [`linux-64/${tarBz2.fileName}`]: tarBz2.sha256 };

for (const [name, protocol] of Object.entries(SERVICES)) {
  const start = () => serviceServer(protocol());

  test(`${name}: packages arrive whole, and a run repeated sends nothing, from files and from a channel`, async () => {
    const server = await start();
    const first = await run(server, files(packages));
    assert.deepEqual(counts(first.report), { ...none, added: 2 }, JSON.stringify(first.report.packages));
    assert.deepEqual([first.report.exitCode, first.warnings], [0, []]);
    assert.deepEqual(storedIn(server), all);
    for (const [path, { bytes }] of server.stored)
      assert.deepEqual(bytes, packages.find((p) => path.endsWith(p.fileName))?.bytes);
    const sent = server.uploads.length;
    assert.equal(sent, 2);
    const again = await run(server, files(packages));
    assert.deepEqual(counts(again.report), { ...none, kept: 2 });
    const upstream = await fileServer(Object.fromEntries(packages.map((p) => [p.fileName, p.bytes])));
    const urls = packages.map((p) => `${upstream.url}/${p.fileName}#sha256:${p.sha256}`);
    const remote = await run(server, urls);
    assert.deepEqual(counts(remote.report), { ...none, kept: 2 });
    assert.deepEqual(
      [server.uploads.length, upstream.requests.filter((r) => /\.conda|\.bz2$/.test(r.path))],
      [sent, []],
    );
  });

  test(`${name}: a dry run tells what is new and what is there, and sends nothing`, async () => {
    const server = await start();
    await run(server, files([conda]));
    const asked = server.requests.length;
    const { report } = await run(server, files(packages), { dryRun: true });
    assert.deepEqual(report.plan?.map((p) => `${p.do} ${p.subdir}/${p.fileName}`).sort(), [
      `add linux-64/${tarBz2.fileName}`,
      `keep noarch/${conda.fileName}`,
    ]);
    assert.ok(server.requests.slice(asked).every((r) => r.method === "GET"));
  });

  test(`${name}: other bytes under the same name are refused, skipped or replaced, as asked`, async () => {
    const server = await start();
    await run(server, files([conda]));
    const refused = await run(server, files([other]));
    assert.deepEqual([errorOf(refused.report).code, refused.report.exitCode], ["CONFLICT", 1]);
    const skipped = await run(server, files([other]), { onConflict: "skip" });
    assert.deepEqual(counts(skipped.report), { ...none, skipped: 1 });
    assert.deepEqual(storedIn(server), { [`noarch/${conda.fileName}`]: conda.sha256 });
    const replaced = await run(server, files([other]), { onConflict: "replace" });
    assert.deepEqual(counts(replaced.report), { ...none, replaced: 1 }, JSON.stringify(replaced.report.packages));
    assert.deepEqual(storedIn(server), { [`noarch/${conda.fileName}`]: other.sha256 });
  });

  test(`${name}: what the server can't do now is tried again, after as long a pause as it asks for`, async () => {
    const server = await start();
    const clock = fastClock();
    server.faults.push({ status: 502 }, { status: 429, headers: { "retry-after": "7" } });
    const { report, warnings } = await run(server, files([conda]), { clock });
    assert.deepEqual(counts(report), { ...none, added: 1 });
    assert.equal(server.uploads.length, 3);
    server.stored.clear();
    server.faults.push({ status: 0 });
    assert.deepEqual(counts((await run(server, files([conda]))).report), { ...none, added: 1 });
    assert.ok(
      clock.waits.some((w) => w >= 7000),
      String(clock.waits),
    );
    assert.equal(warnings.length, 2);
    server.faults.push(...Array(9).fill({ status: 503 }));
    const { report: down } = await run(server, files([tarBz2]));
    assert.deepEqual([errorOf(down).code, down.exitCode, server.uploads.length], ["SERVER_ERROR", 1, 8]);
    assert.match(errorOf(down).what, new RegExp(tarBz2.fileName));
  });

  test(`${name}: a package that came though its answer was lost counts as done`, async () => {
    const server = await start();
    for (const status of [502, 0]) {
      server.stored.clear();
      server.faults.push({ status, after: true });
      const { report } = await run(server, files([conda]));
      assert.deepEqual(counts(report), { ...none, added: 1 }, JSON.stringify(report.packages));
      assert.deepEqual(storedIn(server), { [`noarch/${conda.fileName}`]: conda.sha256 });
    }
    server.faults.push({ status: 502, after: true });
    const replaced = await run(server, files([other]), { onConflict: "replace" });
    assert.deepEqual(counts(replaced.report), { ...none, replaced: 1 }, JSON.stringify(replaced.report.packages));
    assert.deepEqual(storedIn(server), { [`noarch/${conda.fileName}`]: other.sha256 });
  });

  test(`${name}: a name that is taken by other bytes, unknown to the index, is never written over unasked`, async () => {
    const server = await start();
    await run(server, files([conda]));
    server.late = true;
    const { report } = await run(server, files([other]));
    assert.equal(errorOf(report).code, "CONFLICT");
    assert.deepEqual(storedIn(server), { [`noarch/${conda.fileName}`]: conda.sha256 });
    const skipped = await run(server, files([other]), { onConflict: "skip" });
    assert.deepEqual(counts(skipped.report), { ...none, skipped: 1 });
    assert.deepEqual(storedIn(server), { [`noarch/${conda.fileName}`]: conda.sha256 });
  });

  test(`${name}: of two sources with the same name the first to arrive has it, and equal ones are sent once`, async () => {
    const server = await start();
    const twice = await run(server, [...files([conda]), ...files([conda])]);
    assert.deepEqual(counts(twice.report), { ...none, added: 1, kept: 1 });
    server.stored.clear();
    const { report } = await run(server, [...files([conda]), ...files([other])]);
    assert.deepEqual([counts(report), errorOf(report).code], [{ ...none, added: 1, failed: 1 }, "CONFLICT"]);
    assert.equal(server.uploads.length, 2);
  });

  test(`${name}: bytes that are damaged on their way are refused there and sent again`, async () => {
    const server = await start();
    server.damage = 1;
    const { report } = await run(server, files([conda]));
    assert.deepEqual(counts(report), { ...none, added: 1 }, JSON.stringify(report.packages));
    assert.deepEqual(storedIn(server), { [`noarch/${conda.fileName}`]: conda.sha256 });
  });

  test(`${name}: a key that has ended, an unknown channel and a package too large are told as such, once`, async () => {
    const server = await start();
    // A wrong key shows at once, or when something is sent.
    const outcome = await run(server, files([conda]), { env: server.expiredEnv }).then(
      ({ report }) => errorOf(report),
      (e: unknown) => e as ReturnType<typeof errorOf>,
    );
    assert.deepEqual([outcome.code, outcome.exitCode], ["REFUSED", 3]);
    const unknown = await run(server, files([conda]), { target: server.unknownTarget });
    assert.deepEqual([errorOf(unknown.report).code, unknown.report.exitCode], ["NOT_FOUND", 1]);
    server.maxBytes = 100;
    const before = server.uploads.length;
    const large = await run(server, files([conda]));
    assert.deepEqual([errorOf(large.report).code, server.uploads.length - before], ["TOO_LARGE", 1]);
    assert.deepEqual(storedIn(server), {});
  });

  test(`${name}: without a key nothing begins`, async () => {
    const server = await start();
    const keyless = Object.fromEntries(Object.entries(server.env).filter(([, v]) => v.startsWith("http")));
    await assert.rejects(run(server, files([conda]), { env: keyless }), (e: Error & { exitCode?: number }) => {
      assert.equal(e.exitCode, 2, e.message);
      return /no key/.test(e.message) && /--api-key/.test(e.message);
    });
    assert.deepEqual(server.requests, []);
  });

  test(`${name}: the key may be given, or stand in the store for the server's host`, async () => {
    const server = await start();
    const keyless = Object.fromEntries(Object.entries(server.env).filter(([, v]) => v.startsWith("http")));
    const apiKey = server.secrets[0] as string;
    const given = await run(server, files([conda]), { env: server.expiredEnv, apiKey });
    assert.deepEqual(counts(given.report), { ...none, added: 1 });
    const auth = join(temporary(), "auth.json");
    writeFileSync(auth, JSON.stringify({ "127.0.0.1": { BearerToken: apiKey } }));
    const stored = await run(server, files([tarBz2]), { env: { ...keyless, RATTLER_AUTH_FILE: auth } });
    assert.deepEqual(counts(stored.report), { ...none, added: 1 }, JSON.stringify(stored.report.packages));
  });

  // The others' servers are named by the environment alone.
  if (name === "anaconda.org" || name === "Cloudsmith") continue;
  test(`${name}: a key of the environment goes to the server it is for, and to no other`, async () => {
    const [server, elsewhere] = [await start(), await start()];
    const env = Object.fromEntries(
      Object.entries(server.env).map(([k, v]) => [k, v.startsWith("http") ? v.replace("127.0.0.1", "localhost") : v]),
    );
    await assert.rejects(run(elsewhere, files([conda]), { env, target: elsewhere.target }), /no key/);
    assert.deepEqual(elsewhere.requests, []);
  });
}

test("nothing is left in the system's folder of temporary files", async () => {
  const server = await serviceServer(quetz);
  await run(server, files(packages));
  assert.deepEqual(leftovers(), []);
});
