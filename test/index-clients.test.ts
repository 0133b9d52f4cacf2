import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { DEFAULTS } from "../src/config/defaults.ts";
import { indexFilesOf } from "../src/config/index-files.ts";
import type { IndexFiles } from "../src/index/index-files.ts";
import { eachRecord, readRepodata } from "../src/index/repodata.ts";
import { indexChannel } from "../src/main.ts";
import { publish } from "../src/target/channel.ts";
import { openFolder } from "../src/target/folder.ts";
import type { Addition } from "../src/target/subdir-job.ts";
import { buildConda, buildTarBz2 } from "./packages/builder.ts";
import { type FileServer, fileServer } from "./servers/file-server.ts";
import { asked } from "./support/client.ts";
import { temporary, visible, written } from "./support/folders.ts";
import { fixtures, needs, python } from "./support/needs.ts";
import { installed } from "./support/rattler.ts";

const withRattler = needs(python, "py-rattler");
const withFixtures = { ...withRattler, ...needs(join(fixtures, "channels"), "the folder of shared fixtures") };

/** The file of a subdir that a client reads in each format, and what it must not need. */
const FORMATS = {
  json: "repodata.json",
  zst: "repodata.json.zst",
  bz2: "repodata.json.bz2",
  shards: "repodata_shards.msgpack.zst",
} as const;
type Format = keyof typeof FORMATS;
const FORMAT_NAMES = Object.keys(FORMATS) as Format[];

async function serve(channel: string): Promise<FileServer> {
  const files = Object.keys(visible(channel)).map((f) => [f, readFileSync(join(channel, f))] as const);
  return fileServer(Object.fromEntries(files));
}

/** Holds the requests since the last call to a format: its own files were fetched, and the index of no other. */
function fetchedOnly(server: FileServer, format: Format, subdirs: readonly string[]): void {
  const paths = new Set(server.requests.splice(0).flatMap((r) => (server.files.has(r.path) ? [r.path] : [])));
  for (const subdir of subdirs) {
    for (const [name, file] of Object.entries(FORMATS))
      assert.equal(paths.has(`${subdir}/${file}`), name === format, `${format}: ${subdir}/${file}`);
    const shards = [...paths].filter((p) => p.startsWith(`${subdir}/shards/`));
    assert.equal(shards.length > 0, format === "shards", `${subdir}: ${shards}`);
  }
}

test(
  "rattler solves and installs from an indexed channel over HTTP by each index format alone",
  withRattler,
  async () => {
    const channel = temporary();
    const packages = {
      "linux-64": [
        buildConda({
          name: "app",
          version: "2.0",
          subdir: "linux-64",
          depends: ["lib >=1", "data"],
          files: { "bin/app": "#!" },
        }),
        buildConda({ name: "app", version: "1.0", subdir: "linux-64" }),
        buildTarBz2({
          name: "lib",
          version: "1.5",
          build: "h1_0",
          subdir: "linux-64",
          files: { "lib/lib.txt": "lib" },
        }),
      ],
      noarch: [buildConda({ name: "data", files: { "share/data.txt": "data" } })],
    };
    for (const [subdir, some] of Object.entries(packages)) {
      mkdirSync(join(channel, subdir));
      written(join(channel, subdir), some);
    }
    await indexChannel({ channel, env: {}, threads: 1, settings: { write_bz2: true } });
    const server = await serve(channel);
    for (const format of FORMAT_NAMES) {
      const { prefix, packages: came } = await installed(server.url, format, "app");
      assert.deepEqual(came, [
        ["app", "2.0", "0", "linux-64"],
        ["data", "1.0", "0", "noarch"],
        ["lib", "1.5", "h1_0", "linux-64"],
      ]);
      assert.equal(readFileSync(join(prefix, "share/data.txt"), "utf8"), "data");
      assert.equal(readFileSync(join(prefix, "lib/lib.txt"), "utf8"), "lib");
      fetchedOnly(server, format, ["linux-64", "noarch"]);
    }
  },
);

type Found = Record<string, Record<string, unknown>>;
type Job = { path: string; subdir: string } | { channel: string; subdir: string; format: Format; names?: string[] };

async function recordsBy(jobs: readonly Job[]): Promise<Found[]> {
  return JSON.parse(await asked("rattler_records.py", () => [], { input: JSON.stringify(jobs) })) as Found[];
}

/**
 * What rattler says of records, without where they were found. Run exports are in shards only (CEP 21). Of a build in both
 * archive formats rattler 0.28 shows the .conda, but from shards both, also from those that conda-index made; and it takes
 * the subdir of a record that names none from the folder, but not of one in a shard.
 */
function bare(found: Found, subdir: string): Found {
  return Object.fromEntries(
    Object.entries(found)
      .filter(([f]) => !(f.endsWith(".tar.bz2") && f.replace(/tar\.bz2$/, "conda") in found))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([f, { url: _, channel: __, run_exports: ___, ...record }]) => [
        f,
        { ...record, subdir: record["subdir"] || subdir },
      ]),
  );
}

/** Subdirs of a fixture channel that have an index. */
function indexed(channel: string): string[] {
  return readdirSync(join(fixtures, channel)).filter((s) => existsSync(join(fixtures, channel, s, "repodata.json")));
}

/** A channel whose index files are made from a fixture's repodata.json as it is. */
async function copied(fixture: string): Promise<string> {
  const channel = temporary();
  const subdirs = indexed(fixture);
  for (const subdir of subdirs) {
    mkdirSync(join(channel, subdir));
    copyFileSync(join(fixtures, fixture, subdir, "repodata.json"), join(channel, subdir, "repodata.json"));
  }
  await published(channel, subdirs, () => []);
  for (const subdir of subdirs) {
    const ours = JSON.parse(readFileSync(join(channel, subdir, "repodata.json"), "utf8"));
    const theirs = JSON.parse(readFileSync(join(fixtures, fixture, subdir, "repodata.json"), "utf8"));
    for (const key of ["packages", "packages.conda", "v3"])
      assert.deepEqual(ours[key] ?? {}, theirs[key] ?? {}, `${fixture}/${subdir}: ${key}`);
  }
  return channel;
}

/** A channel into which a fixture's records were published one by one. */
async function added(fixture: string): Promise<string> {
  const channel = temporary();
  await published(channel, indexed(fixture), (subdir) => {
    const index = readRepodata(readFileSync(join(fixtures, fixture, subdir, "repodata.json")));
    return [...eachRecord(index)].map(({ fileName, record, map }) => ({
      subdir,
      fileName,
      record: Buffer.from(JSON.stringify(JSON.parse(Buffer.from(record).toString()))),
      sha256: "0".repeat(64),
      v3: map.startsWith("v3."),
    }));
  });
  return channel;
}

async function published(
  channel: string,
  subdirs: readonly string[],
  additions: (subdir: string) => Addition[],
  chosen: Partial<IndexFiles> = {},
) {
  const store = await openFolder(channel);
  const wishes = new Map(subdirs.map((subdir) => [subdir, { additions: additions(subdir) }]));
  const files = { ...indexFilesOf(DEFAULTS), bz2: true, ...chosen };
  await publish(store, wishes, { files, warn: () => undefined, now: 1_800_000_000_000 });
  await store.close();
}

const CHANNELS = [
  ...(withFixtures.skip === false ? readdirSync(join(fixtures, "channels")).map((c) => `channels/${c}`) : []),
  "index-data",
  "index-hotfix",
].filter((c) => withFixtures.skip !== false || indexed(c).length > 0);

/** What rattler can't read of the fixtures themselves, in its own words, and how many records it still finds in shards. */
const UNREADABLE: Record<string, { readonly says: RegExp; readonly inShards?: number }> = {
  // The file name holds a NUL, which JSON has to write with an escape, and rattler's reader of whole indexes takes no key
  // with one. Shards write strings without escapes.
  "channels/dummy-no-conda-packages/linux-64": { says: /1af98f8_2\\0.*expected a borrowed string/, inShards: 13 },
  // Made to be refused: a `noarch` of no known kind.
  "channels/dummy-noarch-str-not-empty/linux-64": { says: /notempty-this-should-fail/ },
};

test(
  "rattler finds the same records, field by field, in the index of every fixture channel and in each form that we make of it",
  withFixtures,
  async () => {
    let compared = 0;
    const jobs: Job[] = [];
    const names: string[] = [];
    const servers: [FileServer, string[]][] = [];
    for (const fixture of CHANNELS) {
      for (const make of [copied, added]) {
        const server = await serve(await make(fixture));
        servers.push([server, indexed(fixture)]);
        for (const subdir of indexed(fixture)) {
          jobs.push({ path: join(fixtures, fixture, subdir, "repodata.json"), subdir });
          for (const format of FORMAT_NAMES) jobs.push({ channel: server.url, subdir, format });
          names.push(`${fixture}/${subdir}, ${make.name}`);
        }
      }
    }
    const answers = await recordsBy(jobs);
    for (const [i, name] of names.entries()) {
      const [theirs, ...ours] = answers.slice(
        i * (1 + FORMAT_NAMES.length),
        (i + 1) * (1 + FORMAT_NAMES.length),
      ) as Found[];
      const place = name.split(",")[0] as string;
      const subdir = place.split("/").at(-1) as string;
      const why = UNREADABLE[place];
      if (why) {
        for (const [f, found] of [theirs, ...ours].entries()) {
          if (FORMAT_NAMES[f - 1] === "shards" && why.inShards)
            assert.equal(Object.keys(found as Found).length, why.inShards);
          else assert.match(String(found?.["error"]), why.says, name);
        }
        continue;
      }
      assert.equal(theirs?.["error"], undefined, `${name}: ${theirs?.["error"]}`);
      for (const [f, format] of FORMAT_NAMES.entries()) {
        assert.equal(ours[f]?.["error"], undefined, `${name}, ${format}: ${ours[f]?.["error"]}`);
        assert.deepEqual(bare(ours[f] as Found, subdir), bare(theirs as Found, subdir), `${name}, ${format}`);
        compared += Object.keys(ours[f] as Found).length;
      }
    }
    assert.ok(compared > 10_000, `${compared} records compared`);
    for (const [server, subdirs] of servers)
      for (const subdir of subdirs)
        for (const file of Object.values(FORMATS))
          assert.ok(
            server.requests.some((r) => r.path === `${subdir}/${file}`),
            `${subdir}/${file} was read`,
          );
  },
);

test("rattler reads a .zst index that was compressed in blocks on several threads", withRattler, async () => {
  const channel = temporary();
  mkdirSync(join(channel, "noarch"));
  const records = Array.from({ length: 90_000 }, (_, i) => {
    const name = `p${String(i % 500).padStart(3, "0")}`;
    const [version, sha256] = [`1.${(i / 500) | 0}`, hash("sha256", String(i))];
    const record = { build: "0", build_number: 0, depends: ["x >=1"], license: sha256, name, sha256, size: i, version };
    return [`${name}-${version}-0.conda`, { ...record, subdir: "noarch", summary: sha256.repeat(2) }] as const;
  });
  const json = JSON.stringify({
    info: { subdir: "noarch" },
    packages: {},
    "packages.conda": Object.fromEntries(records),
  });
  assert.ok(json.length > 33 * 1024 * 1024, `${json.length} bytes`);
  writeFileSync(join(channel, "noarch/repodata.json"), json);
  await published(channel, ["noarch"], () => [], { shards: false, currentRepodata: false, bz2: false });
  const server = await serve(channel);
  const [found] = await recordsBy([
    { channel: server.url, subdir: "noarch", format: "zst", names: ["p000", "p250", "p499"] },
  ]);
  const wanted = records.filter(([f]) => /^p(000|250|499)-/.test(f));
  assert.deepEqual(Object.keys(found as Found).sort(), wanted.map(([f]) => f).sort());
  for (const [f, { sha256 }] of wanted) assert.equal(found?.[f]?.["sha256"], sha256);
  assert.ok(server.requests.some((r) => r.path === "noarch/repodata.json.zst"));
});

/** A channel of all loose packages of the fixtures, each where its index.json wants it. */
async function fixturePackages(): Promise<string> {
  const channel = join(temporary(), "channel");
  const expected = join(fixtures, "expected/conda-index");
  const subdirOf = new Map<string, string>();
  for (const subdir of readdirSync(expected)) {
    if (!existsSync(join(expected, subdir, "repodata.json"))) continue;
    const index = readRepodata(readFileSync(join(expected, subdir, "repodata.json")));
    for (const { fileName } of eachRecord(index)) subdirOf.set(fileName, subdir);
  }
  for (const fileName of readdirSync(join(fixtures, "packages"))) {
    const subdir = subdirOf.get(fileName);
    if (!subdir) continue;
    mkdirSync(join(channel, subdir), { recursive: true });
    copyFileSync(join(fixtures, "packages", fileName), join(channel, subdir, fileName));
  }
  mkdirSync(join(channel, "linux-64"), { recursive: true });
  written(join(channel, "linux-64"), [buildConda({ name: "here", subdir: "linux-64" })]);
  const report = await indexChannel({ channel, env: {}, threads: 2, settings: { write_bz2: true } });
  assert.equal(report.failed.length, 0, report.failed.map((f) => f.error.message).join("\n"));
  return channel;
}

test(
  "rattler finds every package of the fixtures in each form of their index, and installs some by the shared client_check",
  withFixtures,
  async () => {
    const channel = await fixturePackages();
    const server = await serve(channel);
    const subdirs = indexedIn(channel);
    const jobs: Job[] = subdirs.flatMap((subdir) => [
      { path: join(channel, subdir, "repodata.json"), subdir },
      ...FORMAT_NAMES.map((format) => ({ channel: server.url, subdir, format })),
    ]);
    const answers = await recordsBy(jobs);
    let found = 0;
    for (const [i, subdir] of subdirs.entries()) {
      const [plain, ...each] = answers.slice(i * 5, i * 5 + 5) as Found[];
      for (const [f, format] of FORMAT_NAMES.entries())
        assert.deepEqual(bare(each[f] as Found, subdir), bare(plain as Found, subdir), `${subdir}, ${format}`);
      found += Object.keys(plain as Found).length;
    }
    assert.ok(found >= 40, `${found} packages`);
    server.requests.length = 0;
    const check = join(dirname(fixtures), "tools/client_check.py");
    for (const format of FORMAT_NAMES) {
      const specs = ["here", "clobber-1", "link-scripts", "empty"];
      const args = () => [server.url, "linux-64", ...specs, "--prefix", temporary(), "--formats", format];
      const stdout = await asked(check, args);
      assert.match(stdout, new RegExp(`^${format}: solved \\d+ packages, installed [3-9]`));
      fetchedOnly(server, format, ["linux-64", "noarch"]);
    }
  },
);

function indexedIn(channel: string): string[] {
  return readdirSync(channel).filter((s) => existsSync(join(channel, s, "repodata.json")));
}
