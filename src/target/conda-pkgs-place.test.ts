import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { temporary } from "../../test/support/folders.ts";
import { defaultPkgs } from "./conda-pkgs-place.ts";

test("the folder is the first one of conda's own order that can be written", async () => {
  const home = temporary();
  const warned: string[] = [];
  const at = (env: NodeJS.ProcessEnv = {}) => defaultPkgs({ env, warn: (m) => warned.push(m), home });
  assert.equal(await at(), join(home, ".conda/pkgs"));
  const root = join(home, "miniforge3");
  assert.equal(await at({ CONDA_EXE: join(root, "bin/conda") }), join(root, "pkgs"));
  assert.equal(await at({ MAMBA_ROOT_PREFIX: join(home, "mamba") }), join(home, "mamba/pkgs"));
  writeFileSync(join(home, ".condarc"), `pkgs_dirs:\n  - ~/first\n  - $BIG/second\n`);
  assert.equal(await at({ CONDA_EXE: join(root, "bin/conda") }), join(home, "first"));
  writeFileSync(join(home, "file"), "in the way");
  writeFileSync(join(home, ".condarc"), `pkgs_dirs: [~/file/not-a-folder, $BIG/second]\n`);
  assert.equal(await at({ BIG: join(home, "big") }), join(home, "big/second"));
  mkdirSync(join(home, "one"));
  const list = ["", join(home, "one"), join(home, "two")].join(delimiter);
  assert.equal(await at({ CONDA_PKGS_DIRS: list }), join(home, "one"));
  assert.deepEqual(warned, []);
  writeFileSync(join(home, ".condarc"), "pkgs_dirs: [unclosed");
  assert.equal(await at(), join(home, ".conda/pkgs"));
  assert.match(warned.join(), /\.condarc can't be read/);
});
