import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { buildConda } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { repodata, temporary, visible } from "./support/folders.ts";

const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;

test("killed at any moment, the channel stays whole: all that is listed is there, and repeating the run finishes it", async () => {
  const packages = Array.from({ length: 120 }, (_, i) =>
    buildConda({ name: `k${i}`, files: { f: Buffer.alloc(20_000, i) } }),
  );
  const server = await fileServer(Object.fromEntries(packages.map((p) => [p.fileName, p.bytes])));
  const target = temporary();
  const run = (killAfter: number) =>
    new Promise<number | null>((resolve) => {
      const urls = packages.map((p) => `${server.url}/${p.fileName}#${p.sha256}`);
      const child = spawn(process.execPath, [cli, "mirror", ...urls, "--tgt", target, "-q"], { stdio: "ignore" });
      const seen = server.requests.length;
      // The moment is that of a request, not of a clock: the same on every machine.
      const watch = setInterval(() => {
        if (server.requests.length - seen >= killAfter) child.kill("SIGKILL");
      }, 1);
      child.on("close", (code) => {
        clearInterval(watch);
        resolve(code);
      });
    });
  const whole = () => {
    if (!existsSync(join(target, "noarch/repodata.json"))) return 0;
    const listed = Object.entries(repodata(target, "noarch")["packages.conda"]);
    for (const [fileName, record] of listed) {
      const bytes = readFileSync(join(target, "noarch", fileName));
      assert.equal(createHash("sha256").update(bytes).digest("hex"), record["sha256"], fileName);
    }
    for (const path of Object.keys(visible(target)).filter((f) => f.endsWith(".conda"))) {
      const sha256 = createHash("sha256")
        .update(readFileSync(join(target, path)))
        .digest("hex");
      assert.ok(
        packages.some((p) => p.sha256 === sha256),
        `${path} is whole though no index lists it yet`,
      );
    }
    return listed.length;
  };
  for (const killAfter of [1, 2, 9, 20, 31, 45, 60, 33, 15, 5]) {
    await run(killAfter);
    whole();
  }
  assert.equal(await run(Number.POSITIVE_INFINITY), 0);
  assert.equal(whole(), 120);
});
