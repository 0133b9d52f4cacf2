import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";

const src = new URL("../src/", import.meta.url).pathname;

/** Which rooms each room may import. Files at the top of src/ are the flow (mirror, bring, dry-run) or leaves. */
const MAY: Record<string, readonly string[]> = {
  conda: [],
  config: [],
  auth: [],
  plan: [],
  codec: ["conda"],
  package: ["conda", "codec"],
  index: ["conda", "codec"],
  transfer: ["conda", "package", "auth"],
  lock: ["conda", "transfer"],
  bundle: ["conda", "codec"],
  s3: ["transfer", "auth"],
  oci: ["conda", "transfer", "auth"],
  source: ["conda", "codec", "package", "index", "transfer", "auth", "lock", "s3", "oci", "bundle"],
  choose: ["conda", "index"],
  solve: ["conda"],
  unpack: ["conda", "codec", "package"],
  survey: ["conda", "package", "index"],
  verify: ["conda", "package", "index", "transfer", "target"],
  target: ["conda", "package", "plan", "index", "transfer", "auth", "unpack", "s3", "oci", "bundle"],
  cli: ["config"],
};
const LEAVES = ["errors.ts", "version.ts", "thread-argv.ts", "lost-thread.ts", "system-errors.ts", "make-folder.ts"];

test("rooms import only the rooms they may know", () => {
  for (const file of globSync("**/*.ts", { cwd: src }).filter((f) => !f.endsWith(".test.ts"))) {
    const room = file.includes("/") ? (file.split("/")[0] as string) : undefined;
    if (!room) continue;
    const text = readFileSync(join(src, file), "utf8");
    for (const [, path] of text.matchAll(/(?:from|import\() ?"(\.[^"]+)"/g)) {
      const to = relative(src, resolve(src, dirname(file), path as string)).replaceAll("\\", "/");
      const target = to.includes("/") ? (to.split("/")[0] as string) : to;
      const allowed =
        target === room ||
        LEAVES.includes(target) ||
        MAY[room]?.includes(target) ||
        (room === "cli" && !to.includes("/"));
      assert.ok(allowed, `src/${file} imports src/${to}`);
    }
  }
});

test("nothing imports the command line", () => {
  for (const file of globSync("**/*.ts", { cwd: src }).filter((f) => !f.startsWith("cli/"))) {
    assert.ok(!/from "[./]+cli\//.test(readFileSync(join(src, file), "utf8")), file);
  }
});
