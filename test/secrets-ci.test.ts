import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { IncomingMessage } from "node:http";
import { test } from "node:test";
import { mirror } from "../src/main.ts";
import { listening } from "./servers/listening.ts";
import { patientClock } from "./support/ci.ts";
import { temporary } from "./support/folders.ts";

// Tokens of GitHub and Azure DevOps, and the signatures in files' addresses: in no output, though services repeat them.
const TOKEN = "ghp_0123456789abcdefSECRET";
const PAT = "azurepat0123456789SECRET";
const SIGNATURE = "c2lnbmF0dXJlSECRET%2B";

const echo = (request: IncomingMessage) =>
  JSON.stringify({ message: `you sent ${request.headers.authorization} to ${request.url}`, sent: request.headers });

/** Lists are answered; files lie behind a signed address at a host that refuses with `status`, or the lists are refused. */
async function services(status: number, refuses: "lists" | "files"): Promise<string> {
  const store = await listening((request, response) =>
    response.writeHead(status, { "content-type": "application/json" }).end(echo(request)),
  );
  const api = await listening((request, response) => {
    const path = request.url ?? "";
    if (refuses === "lists")
      return response.writeHead(status, { "content-type": "application/json" }).end(echo(request));
    const signed = `${store}/file?sv=1&sig=${SIGNATURE}`;
    if (path.endsWith("/zip") || path.includes("format=zip"))
      return response.writeHead(302, { location: signed }).end();
    const artifact = { id: 1, name: "x", expired: false, resource: { type: "PipelineArtifact", downloadUrl: signed } };
    return response.end(JSON.stringify({ ...artifact, artifacts: [artifact], value: [artifact], result: "succeeded" }));
  });
  return api;
}

function none(said: string, when: string): void {
  for (const secret of [
    TOKEN,
    PAT,
    Buffer.from(`:${PAT}`).toString("base64"),
    SIGNATURE,
    decodeURIComponent(SIGNATURE),
  ])
    assert.ok(!said.includes(secret), `${when}: ${secret} is in\n${said}`);
}

function whole(e: unknown, depth = 0): unknown {
  if (!(e instanceof Error) || depth > 5) return e;
  const own = Object.fromEntries(Object.getOwnPropertyNames(e).map((name) => [name, Reflect.get(e, name) as unknown]));
  return { ...own, cause: whole(e.cause, depth + 1), stack: e.stack };
}

const SOURCES = [
  ["o/r", "github"],
  ["o/r#1", "github"],
  ["o/p#5", "azure"],
  ["o/r/pull/7", "pr"],
] as const;
const env = (url: string) => ({
  GITHUB_API_URL: url,
  AZURE_DEVOPS_URL: url,
  GITHUB_TOKEN: TOKEN,
  AZURE_DEVOPS_TOKEN: PAT,
});

test("whatever a service refuses, nothing secret is in events, errors, causes and reports", async () => {
  for (const refuses of ["lists", "files"] as const) {
    for (const status of [302, 400, 401, 403, 404, 410, 429, 500, 503]) {
      const url = await services(status, refuses);
      for (const [source, sourceType] of SOURCES) {
        const said: string[] = [];
        const say = (value: unknown) => said.push(JSON.stringify(value, (_, v: unknown) => whole(v)));
        const report = await mirror({
          sources: [source],
          sourceType,
          target: temporary(),
          env: env(url),
          clock: patientClock(),
          settings: { retry_attempts: 0 },
          onEvent: say,
        });
        say(report);
        assert.notEqual(report.exitCode, 0, `${source} ${status} ${refuses}`);
        none(said.join("\n"), `${source}, ${status} for ${refuses}`);
      }
    }
  }
});

test("nothing secret is printed at --log-level trace", async () => {
  const main = new URL("../src/cli/main.ts", import.meta.url).pathname;
  for (const [refuses, command] of [
    ["lists", "mirror"],
    ["files", "mirror"],
    ["files", "info"],
  ] as const) {
    const url = await services(403, refuses);
    for (const [source, type] of SOURCES.slice(1, 3)) {
      const target = command === "mirror" ? ["--tgt", "c"] : [];
      const args = [
        command,
        source,
        "--src-type",
        type,
        ...target,
        "--retry-attempts",
        "0",
        "--log-level",
        "trace",
        "-v",
        "--json",
      ];
      const child = spawn(process.execPath, [main, ...args], {
        cwd: temporary(),
        env: { PATH: process.env["PATH"] ?? "", NODE_NO_WARNINGS: "1", ...env(url) },
      });
      let said = "";
      child.stdout.on("data", (d) => (said += String(d)));
      child.stderr.on("data", (d) => (said += String(d)));
      await new Promise((resolve) => child.on("close", resolve));
      assert.notEqual(said, "");
      none(said, args.join(" "));
    }
  }
});
