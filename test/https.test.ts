import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { buildConda } from "./packages/builder.ts";
import { certificate, key } from "./servers/certificate.ts";
import { listed, temporary } from "./support/folders.ts";

const cli = new URL("../src/cli/main.ts", import.meta.url).pathname;
const a = buildConda({ name: "a" });

function run(
  args: readonly string[],
  cwd: string,
  env: Record<string, string>,
): Promise<{ code: number; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...args], { cwd, env: { PATH: process.env["PATH"], ...env } }, (e, _, err) =>
      resolve({ code: Number(e?.code ?? 0), err }),
    );
  });
}

test("a certificate authority of one's own is trusted by NODE_EXTRA_CA_CERTS, and the error without it says so", async () => {
  const server = createServer({ cert: certificate, key }, (request, response) => {
    if (request.url?.startsWith("/plain"))
      response.writeHead(302, { location: "http://127.0.0.1:1/a-1.0-0.conda" }).end();
    else response.writeHead(200, { "content-length": a.bytes.length }).end(a.bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => server.close());
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const folder = temporary();
  writeFileSync(join(folder, "ca.pem"), certificate);
  const refused = await run(["mirror", `${url}/${a.fileName}`, "--tgt", "t"], folder, {});
  assert.deepEqual([refused.code, /NODE_EXTRA_CA_CERTS/.test(refused.err)], [3, true], refused.err);
  const trusted = { NODE_EXTRA_CA_CERTS: join(folder, "ca.pem") };
  assert.equal((await run(["mirror", `${url}/${a.fileName}`, "--tgt", "t"], folder, trusted)).code, 0);
  assert.deepEqual(listed(join(folder, "t"), "noarch"), [a.fileName]);
  const downgraded = await run(["mirror", `${url}/plain/${a.fileName}`, "--tgt", "u"], folder, trusted);
  assert.match(downgraded.err, /redirects from https to plain http/);
});
