// needs registry
import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { goProgram } from "../scripts/go-programs.ts";
import { mirror } from "../src/main.ts";
import { buildConda, buildTarBz2 } from "./packages/builder.ts";
import { certificate } from "./servers/certificate.ts";
import { startRegistry } from "./servers/registry.ts";
import { tlsFront } from "./servers/tls-front.ts";
import { asked } from "./support/client.ts";
import { temporary, written } from "./support/folders.ts";
import { needs, python } from "./support/needs.ts";

// rattler speaks TLS alone, to the usual port, with registries: it is led to ours through a proxy.
test("rattler solves and installs from a channel that we pushed to a registry, by json and by zst", {
  skip: needs(python, "py-rattler").skip || needs(goProgram("registry"), "the registry").skip,
}, async () => {
  const registry = await startRegistry();
  const source = temporary();
  written(source, [
    buildConda({ name: "app", depends: ["lib", "_under"], files: { "share/app": "a" } }),
    buildTarBz2({ name: "lib", subdir: "linux-64", version: "1!2.0+x", files: { "share/lib": "l" } }),
    buildConda({ name: "_under", files: { "share/under": "u" } }),
  ]);
  const env = { HOME: temporary() };
  assert.equal((await mirror({ sources: [source], target: `oci://${registry.host}/org/py`, env })).added, 3);
  const front = await tlsFront(registry.host);
  const ca = join(temporary(), "ca.pem");
  writeFileSync(ca, certificate);
  for (const format of ["json", "zst"]) {
    let prefix = "";
    const args = () => {
      prefix = temporary();
      return ["oci://127.0.0.1/org/py", format, prefix, "app"];
    };
    const stdout = await asked("rattler_oci.py", args, {
      env: { PATH: process.env["PATH"], HOME: temporary(), HTTPS_PROXY: front.proxy, NO_PROXY: "", SSL_CERT_FILE: ca },
    });
    assert.deepEqual(JSON.parse(stdout), ["_under-1.0-0.conda", "app-1.0-0.conda", "lib-1!2.0+x-0.tar.bz2"]);
    assert.deepEqual(readdirSync(join(prefix, "share")).sort(), ["app", "lib", "under"]);
  }
  assert.ok(front.requests.some((r) => r.startsWith("GET /v2/org/py/noarch/zzz_under/blobs/sha256:")));
});
