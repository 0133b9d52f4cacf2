import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { buildConda } from "./packages/builder.ts";
import { listed, temporary, written } from "./support/folders.ts";

const root = new URL("..", import.meta.url).pathname;
const npm = process.platform === "win32" ? "npm.cmd" : "npm";

test("what npm pack makes, installed into an empty folder elsewhere, runs mirror and can be imported, with types", () => {
  const [packed, folder] = [temporary(), temporary()];
  const say = (command: string, args: readonly string[], cwd: string) =>
    execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const [{ filename, files }] = JSON.parse(
    say(npm, ["pack", "--json", "--silent", "--pack-destination", packed], root),
  ) as [{ filename: string; files: { path: string }[] }];
  assert.ok(
    files.every((f) => !/\.test\.|^(test|bench|scripts|src)\//.test(f.path)),
    "only what users need is packed",
  );
  writeFileSync(join(folder, "package.json"), '{"type":"module","private":true}');
  say(npm, ["install", "--no-audit", "--no-fund", "--prefer-offline", join(packed, filename)], folder);
  const [path] = written(folder, [buildConda({ name: "a" })]) as [string];
  const bin = join(folder, "node_modules/meso-forge-mirror/dist/cli/main.js");
  assert.match(say(process.execPath, [bin, "mirror", path, "--tgt", "by-bin"], folder), /^1 added/);
  writeFileSync(
    join(folder, "use.js"),
    'import { mirror } from "meso-forge-mirror";\nconst r = await mirror({ sources: [process.argv[2]], target: "by-import" });\nprocess.exit(r.exitCode);\n',
  );
  say(process.execPath, ["use.js", path], folder);
  for (const channel of ["by-bin", "by-import"])
    assert.deepEqual(listed(join(folder, channel), "noarch"), ["a-1.0-0.conda"]);
  const types = readFileSync(join(folder, "node_modules/meso-forge-mirror/dist/main.d.ts"), "utf8");
  assert.ok(types.includes("MirrorOptions"));
});
