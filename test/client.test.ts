import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { mirror } from "../src/main.ts";
import { buildConda, buildTarBz2 } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { temporary, written } from "./support/folders.ts";
import { needs, python } from "./support/needs.ts";
import { installed } from "./support/rattler.ts";

test(
  "rattler solves and installs from a channel we made, over HTTP and from the folder, by json and by zst",
  needs(python, "py-rattler"),
  async () => {
    const [source, target] = [temporary(), temporary()];
    written(source, [
      buildConda({
        name: "app",
        version: "2.0",
        subdir: "linux-64",
        depends: ["lib >=1", "data"],
        files: { "bin/app": "#!/bin/sh\n" },
      }),
      buildTarBz2({ name: "lib", version: "1.5", build: "h1_0", subdir: "linux-64", files: { "lib/lib.txt": "lib" } }),
      buildConda({ name: "data", files: { "share/data.txt": "data" } }),
    ]);
    await mirror({ sources: [source], target, env: {} });
    const files = readdirSync(target, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
    const server = await fileServer(
      Object.fromEntries(
        files.map((f) => [
          join(f.parentPath, f.name).slice(target.length + 1),
          readFileSync(join(f.parentPath, f.name)),
        ]),
      ),
    );
    for (const [channel, formats] of [
      [target, ["json", "zst"]],
      [server.url, ["json", "zst"]],
    ] as const) {
      for (const format of formats) {
        const { prefix, packages } = await installed(channel, format, "app");
        assert.deepEqual(packages, [
          ["app", "2.0", "0", "linux-64"],
          ["data", "1.0", "0", "noarch"],
          ["lib", "1.5", "h1_0", "linux-64"],
        ]);
        assert.equal(readFileSync(join(prefix, "share/data.txt"), "utf8"), "data");
        assert.equal(readFileSync(join(prefix, "lib/lib.txt"), "utf8"), "lib");
      }
    }
    assert.ok(server.requests.some((r) => r.path === "noarch/repodata.json.zst"));
  },
);
