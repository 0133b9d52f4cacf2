import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { temporary } from "../../test/support/folders.ts";
import { defaultPlace, placeAt } from "./rattler-cache-place.ts";

const warned: string[] = [];
const warn = (message: string) => warned.push(message);
const at = async (home: string, env: NodeJS.ProcessEnv = {}, platform: NodeJS.Platform = "linux") =>
  (await defaultPlace({ env, warn, platform, home })).packages;

test("rattler's default, by system", async () => {
  const home = temporary();
  assert.equal(await at(home), join(home, ".cache/rattler/cache/pkgs"));
  assert.equal(await at(home, { XDG_CACHE_HOME: "/x" }), "/x/rattler/cache/pkgs");
  assert.equal(await at(home, { XDG_CACHE_HOME: "not/absolute" }), join(home, ".cache/rattler/cache/pkgs"));
  assert.equal(await at(home, {}, "darwin"), join(home, "Library/Caches/rattler/cache/pkgs"));
  assert.equal(await at(home, { LOCALAPPDATA: "/L" }, "win32"), "/L/rattler/cache/pkgs");
});

test("pixi's cache counts where pixi has been, and what the environment says is stronger, in pixi's order", async () => {
  const home = temporary();
  mkdirSync(join(home, ".cache/pixi"), { recursive: true });
  assert.equal(await at(home), join(home, ".cache/pixi/pkgs"));
  const env: NodeJS.ProcessEnv = { RATTLER_CACHE_DIR: "/r" };
  assert.equal(await at(home, env), "/r/pkgs");
  env["PIXI_CACHE_DIR"] = "/p";
  assert.equal(await at(home, env), "/p/pkgs");
  env["PIXI_CACHE_CONDA_PACKAGES_DIR"] = "/as-is";
  assert.equal(await at(home, env), "/as-is");
});

test("pixi's configuration is read: its home beats the user's file, the packages' own folder beats the root", async () => {
  const home = temporary();
  const write = (folder: string, text: string) => {
    mkdirSync(join(home, folder), { recursive: true });
    writeFileSync(join(home, folder, "config.toml"), text);
  };
  write(".config/pixi", '[cache]\nroot = "/from-user"\n');
  assert.equal(await at(home), "/from-user/pkgs");
  assert.equal(await at(home, { RATTLER_CACHE_DIR: "/r" }), "/r/pkgs", "the environment is stronger than a root");
  write(".pixi", '[cache]\nroot = "~/mine"\n');
  assert.equal(await at(home), join(home, "mine/pkgs"));
  assert.equal(await at(home, { PIXI_NO_CONFIG: "1" }), join(home, ".cache/rattler/cache/pkgs"));
  write(".pixi", '[cache]\nconda-packages = "/only/packages"\n');
  assert.equal(await at(home, { RATTLER_CACHE_DIR: "/r" }), "/only/packages");
  assert.deepEqual(warned, []);
  write(".pixi", "[cache\n");
  assert.equal(await at(home), "/from-user/pkgs");
  assert.match(warned.join(), /config\.toml can't be read/);
});

test("a path is the folder of packages, or a root that has one", async () => {
  const folder = temporary();
  assert.equal((await placeAt(folder)).packages, folder);
  mkdirSync(join(folder, "pkgs"));
  const { packages, root } = await placeAt(folder);
  assert.deepEqual([packages, root], [join(folder, "pkgs"), folder]);
});
