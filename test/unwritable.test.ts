import assert from "node:assert/strict";
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { asMirrorError, type MirrorError, TargetError, unwritable } from "../src/errors.ts";
import { type MirrorOptions, mirror } from "../src/main.ts";
import { makeFolder, makeFolderSync } from "../src/make-folder.ts";
import { buildConda } from "./packages/builder.ts";
import { listed, temporary, written } from "./support/folders.ts";

const sources = () => written(temporary(), [buildConda({ name: "a" }), buildConda({ name: "b" })]);

/** What a run ends with that has nowhere to write to, and what it said of packages before. */
async function ending(
  options: Partial<MirrorOptions> & { target: string },
): Promise<{ error: MirrorError; told: number }> {
  let told = 0;
  const onEvent: MirrorOptions["onEvent"] = (e) => {
    if (e.type === "finished") told++;
  };
  const error = await mirror({ sources: sources(), env: {}, onEvent, ...options }).then(
    () => assert.fail("it ended well"),
    (e: unknown) => e,
  );
  assert.ok(error instanceof TargetError, String(error));
  return { error, told };
}

const kinds = [
  ["folder", undefined, "channel"],
  ["bundle", undefined, "channel.tar"],
  ["Rattler cache", "cache", "pkgs"],
  ["conda cache", "conda-pkgs", "pkgs"],
] as const;

test("a file where a folder has to be: every kind of target says which, and what to do, once", async () => {
  for (const [kind, targetType, name] of kinds) {
    const file = join(temporary(), "file");
    writeFileSync(file, "");
    const target = join(file, name);
    const { error, told } = await ending({ target, ...(targetType ? { targetType } : {}) });
    assert.deepEqual([error.code, error.exitCode, told], ["UNWRITABLE", 3, 0], kind);
    assert.ok(error.what.startsWith(`${target}: the `), error.what);
    assert.match(error.why, /^a file stands where a folder has to be \(ENOTDIR/);
    assert.match(error.next, /^move the file away and run again, or choose another/);
  }
});

test("where no folder can be made the run ends with that, at once", {
  skip: process.platform !== "linux",
}, async () => {
  for (const [kind, targetType, name] of kinds) {
    const target = join("/proc/meso-forge-mirror", name);
    const { error, told } = await ending({ target, ...(targetType ? { targetType } : {}) });
    assert.deepEqual([error.code, error.exitCode, told], ["UNWRITABLE", 3, 0], kind);
    assert.match(error.why, /^it can't be made there \(ENOENT.*\/proc\/meso-forge-mirror/);
  }
  assert.throws(() => makeFolderSync("/proc/meso-forge-mirror/x"), /ENOENT.*'\/proc\/meso-forge-mirror'/);
});

test("a target that can't be written to keeps no other from its packages", {
  skip: process.platform !== "linux",
}, async () => {
  const good = temporary();
  const report = await mirror({ sources: sources(), target: ["/proc/meso-forge-mirror/channel", good], env: {} });
  assert.equal(report.exitCode, 1);
  assert.deepEqual(listed(good, "noarch"), ["a-1.0-0.conda", "b-1.0-0.conda"]);
  assert.deepEqual(
    report.targets.map((t) => [t.added, t.failed, t.error?.code]),
    [
      [0, 0, "UNWRITABLE"],
      [2, 0, undefined],
    ],
  );
});

test("what the system says is told in words, with its own behind them", { skip: process.platform !== "linux" }, () => {
  const folder = temporary();
  symlinkSync("circle", join(folder, "circle"));
  const by = (path: string): unknown => {
    try {
      writeFileSync(path, "x");
    } catch (e) {
      return e;
    }
    return assert.fail(path);
  };
  for (const [thrown, code, why, next] of [
    [by("/dev/full"), "FULL", /^no space is left on its disk \(ENOSPC/, /^free some space/],
    [by(folder), "UNWRITABLE", /^a folder stands where a file has to be \(EISDIR/, /^move the folder away/],
    [by(join(folder, "circle")), "UNWRITABLE", /^links on the way to it lead in a circle \(ELOOP/, /mend the links/],
    [by(join(folder, "x".repeat(300))), "UNWRITABLE", /^the path is too long .*\(ENAMETOOLONG/, /shorter/],
    [by(join(folder, "no/file")), "UNWRITABLE", /^it can't be made there \(ENOENT.*no\/file/, /make the folder/],
    [
      Object.assign(new Error("EROFS: read-only"), { code: "EROFS" }),
      "UNWRITABLE",
      /^its file system may only be read/,
      /mount it/,
    ],
    [
      Object.assign(new Error("EDQUOT"), { code: "EDQUOT" }),
      "FULL",
      /^no space is left of what this user may use/,
      /quota/,
    ],
    [
      Object.assign(new Error("EACCES"), { code: "EACCES" }),
      "UNWRITABLE",
      /^this user lacks the permission/,
      /permission/,
    ],
  ] as const) {
    const { code: told, why: words, next: then, what } = unwritable("/srv/channel", thrown, "choose another");
    assert.deepEqual([told, what], [code, "/srv/channel"]);
    assert.match(words, why);
    assert.match(then, next);
    assert.match(then, /and run again, or choose another/);
  }
  const many = asMirrorError(Object.assign(new Error("EMFILE: too many"), { code: "EMFILE" }), "a-1-0.conda");
  assert.deepEqual([many.family, many.code], ["package", "UNREADABLE"]);
  assert.match(many.next, /ulimit -n.*and run again$/);
});

test("folders are made with those that they lie in, also by several at the same time", async () => {
  const root = temporary();
  const deep = join(root, "a/b/c/d");
  await Promise.all([makeFolder(deep), makeFolder(join(deep, "e")), makeFolder(dirname(deep))]);
  makeFolderSync(join(root, "a/x/y"));
  makeFolderSync(deep);
  assert.deepEqual(readdirSync(join(root, "a")).sort(), ["b", "x"]);
  mkdirSync(join(root, "z"));
  writeFileSync(join(root, "z/file"), "");
  await assert.rejects(makeFolder(join(root, "z/file")), /EEXIST/);
  await assert.rejects(makeFolder(join(root, "z/file/x")), /ENOTDIR/);
});
