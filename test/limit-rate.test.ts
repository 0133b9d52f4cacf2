import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { connect } from "node:net";
import { after, test } from "node:test";
import { mirror } from "../src/main.ts";
import { buildConda } from "./packages/builder.ts";
import { fileServer } from "./servers/file-server.ts";
import { listening } from "./servers/listening.ts";
import { channelOf, filesOf } from "./support/channels.ts";
import { listed, temporary } from "./support/folders.ts";

const packages = Array.from({ length: 8 }, (_, i) =>
  buildConda({ name: `p${i}`, files: { "share/x.bin": randomBytes(150_000) } }),
);
const bytes = packages.reduce((sum, p) => sum + p.bytes.length, 0);

/** A proxy with tunnels. */
async function proxy(): Promise<string> {
  const server = createServer();
  server.on("connect", (request, socket) => {
    const { port, hostname } = new URL(`http://${request.url}`);
    const upstream = connect(Number(port), hostname, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.pipe(socket).pipe(upstream);
    });
    for (const one of [socket, upstream]) one.on("error", () => undefined);
    after(() => upstream.destroy());
  });
  return listening(server);
}

test("a rate of 0 is no limit, as curl and rsync have it, and one that is none is told as that", async () => {
  const [one] = packages as [(typeof packages)[number]];
  const server = await fileServer({ [one.fileName]: one.bytes });
  const run = (limit_rate: string | number) =>
    mirror({ sources: [`${server.url}/${one.fileName}`], target: temporary(), env: {}, settings: { limit_rate } });
  for (const none of ["0", 0, "0K"]) assert.equal((await run(none)).added, 1);
  for (const wrong of ["10Q", -1])
    await assert.rejects(run(wrong), /limit_rate can't be used\n.*neither a number of bytes a second/);
});

for (const way of ["directly", "through a proxy", "from a bucket"]) {
  test(`all threads together fetch no more than --limit-rate ${way}, and everything arrives`, async () => {
    const inBucket = way === "from a bucket";
    const inChannel = Object.entries(inBucket ? filesOf(await channelOf(packages)) : {});
    const server = await fileServer({
      ...Object.fromEntries(packages.map((p) => [p.fileName, p.bytes])),
      ...Object.fromEntries(inChannel.map(([path, content]) => [`bucket/ch/${path}`, content])),
    });
    const env = way === "through a proxy" ? { HTTP_PROXY: await proxy() } : {};
    const target = temporary();
    const began = performance.now();
    const report = await mirror({
      sources: inBucket
        ? ["s3://bucket/ch/noarch"]
        : packages.map((p) => `${server.url}/${p.fileName}#sha256:${p.sha256}`),
      target,
      env,
      settings: {
        limit_rate: "800K",
        max_concurrent_downloads: 8,
        s3_endpoint: inBucket ? server.url : null,
        s3_anonymous: inBucket,
      },
    });
    const seconds = (performance.now() - began) / 1000;
    assert.deepEqual([report.exitCode, report.added], [0, packages.length]);
    assert.equal(listed(target, "noarch").length, packages.length);
    // A quarter of a second's bytes are free, and so is one portion a connection.
    const least = bytes / (800 * 1024) - 0.25 - (8 * 65_536) / (800 * 1024);
    assert.ok(seconds >= least && least > 0.5, `${bytes} bytes came in ${seconds} s, at least ${least}`);
  });
}
