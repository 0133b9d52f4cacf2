import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { test } from "node:test";
import { mirror } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { listening } from "./servers/listening.ts";
import { channelOf, filesOf } from "./support/channels.ts";
import { temporary } from "./support/folders.ts";

test("a package in a registry is asked for as often as --retry-attempts says, and no more", async () => {
  const p = buildConda({ name: "p" });
  const index = filesOf(await channelOf([p]))["noarch/repodata.json"] as Uint8Array;
  const digest = `sha256:${createHash("sha256").update(index).digest("hex")}`;
  const layer = { mediaType: "application/vnd.conda.repodata.v1+json", digest, size: index.length };
  const manifest = JSON.stringify({ schemaVersion: 2, config: layer, layers: [layer] });
  let asked = 0;
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    if (path === "/v2/ch/noarch/repodata.json/manifests/latest") return void response.end(manifest);
    if (path.endsWith(`/blobs/${digest}`)) return void response.end(index);
    if (!path.startsWith("/v2/ch/noarch/p/")) return void response.writeHead(404).end();
    asked++;
    response.writeHead(503).end();
  });
  const { host } = new URL(await listening(server));
  const clock = { now: () => 0, random: () => 0, sleep: async () => undefined };
  const sources = [`oci://${host}/ch/noarch`];
  const report = await mirror({ sources, target: temporary(), env: {}, clock, settings: { retry_attempts: 2 } });
  assert.equal(report.failed, 1);
  assert.match(JSON.stringify(report.packages), /answered 503/);
  assert.equal(asked, 3);
});
