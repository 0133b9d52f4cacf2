import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MirrorError, SourceError } from "../src/errors.ts";
import { info } from "../src/info.ts";
import { listening } from "./servers/listening.ts";
import { patientClock } from "./support/ci.ts";

const told = (url: string, source: string, sourceType: string, env = {}) =>
  info({
    source,
    sourceType,
    clock: patientClock(),
    settings: { retry_attempts: 0 },
    env: { GITHUB_API_URL: url, AZURE_DEVOPS_URL: url, ...env },
  }).then(
    (report) => report.error,
    (e: unknown) => e,
  );

test("whatever a service answers, it is understood or refused in three parts", async () => {
  let answer: unknown;
  const url = await listening((request, response) => {
    const path = request.url ?? "";
    // What leads on is right, so that the random part is reached.
    if (/\/pulls\/\d+$/.test(path) && answer !== undefined)
      return response.end(JSON.stringify({ head: { sha: "a".repeat(40) }, ...Object(answer) }));
    return response.end(JSON.stringify(answer) ?? "");
  });
  const key = fc.constantFrom(
    "id",
    "name",
    "artifacts",
    "value",
    "workflow_runs",
    "check_runs",
    "statuses",
    "head",
    "sha",
    "resource",
    "downloadUrl",
    "records",
    "expires_at",
    "expired",
    "workflow_run",
    "properties",
    "definition",
    "triggerInfo",
    "details_url",
    "status",
    "conclusion",
    "app",
    "slug",
    "size_in_bytes",
    "source",
    "__proto__",
    "result",
  );
  const leaf = fc.oneof(
    fc.integer(),
    fc.double(),
    fc.string(),
    fc.boolean(),
    fc.constant(null),
    fc.constantFrom(`${url}/o/r/actions/runs/5`, `${url}/o/p/_build/results?buildId=5`, "completed"),
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: "small" },
      leaf,
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.dictionary(key, tie("tree"), { maxKeys: 6 }),
    ),
  }));
  const sources = fc.constantFrom(
    ["o/r", "github"],
    ["o/r@5", "github"],
    ["o/r/pull/5", "pr"],
    ["o/r/releases/tag/x", "github"],
    ["o/p", "azure"],
    ["o/p#5", "azure"],
  );
  await fc.assert(
    fc.asyncProperty(tree, sources, async (given, [source, type]) => {
      answer = given;
      const error = await told(url, source as string, type as string);
      if (error === undefined) return;
      assert.ok(error instanceof MirrorError, String(error));
      // Errors of our own making in code that trusted an answer would come as this one.
      assert.notEqual(error.code, "DAMAGED", error.message);
      assert.ok(error.what && error.why && error.next);
    }),
    { numRuns: 300 },
  );
});

test("a next page at another host is not asked for, with our token or without", async () => {
  const asked: string[] = [];
  const other = await listening((request, response) => {
    asked.push(request.headers.authorization ?? "none");
    response.end('{"artifacts":[]}');
  });
  const url = await listening((_, response) => {
    response.setHeader("link", `<${other}/repos/o/r/actions/artifacts?page=2>; rel="next"`);
    response.end('{"artifacts":[]}');
  });
  const error = await told(url, "o/r", "github", { GITHUB_TOKEN: "ghp_secret" });
  assert.ok(error instanceof SourceError && /its next page is at another host/.test(error.why));
  assert.deepEqual(asked, []);
});

test("a file's address that is none to be fetched is refused", async () => {
  for (const location of ["file:///etc/passwd", "data:application/zip,PK", "", "http://"]) {
    const url = await listening((request, response) => {
      if (request.url?.endsWith("/zip")) response.writeHead(302, location === "" ? {} : { location }).end();
      else response.end('{"id":1,"name":"x","expired":false}');
    });
    const error = await told(url, "o/r#1", "github", { GITHUB_TOKEN: "ghp_x" });
    assert.ok(error instanceof MirrorError && error.code === "BAD_REDIRECT", `${location}: ${error}`);
  }
});

test("pages without an end are noticed", async () => {
  let requests = 0;
  const url = await listening((request, response) => {
    requests++;
    response.setHeader("link", `<${url}${request.url}>; rel="next"`);
    response.setHeader("x-ms-continuationtoken", "more");
    response.end('{"artifacts":[],"value":[]}');
  });
  for (const [source, type] of [
    ["o/r", "github"],
    ["o/p", "azure"],
  ] as const) {
    const error = await told(url, source, type);
    assert.ok(error instanceof SourceError && /pages have no end/.test(error.why), String(error));
  }
  assert.ok(requests < 10, String(requests));
});

test("names of checks and artifacts can't steer a terminal", async () => {
  const evil = "\u001b[31mred\u202e";
  const url = await listening((_, response) =>
    response.end(
      JSON.stringify({
        artifacts: [
          {
            id: 1,
            name: evil,
            size_in_bytes: 1,
            expired: true,
            expires_at: "x",
            workflow_run: { id: 1, head_branch: evil },
          },
        ],
      }),
    ),
  );
  const report = await info({ source: "o/r", sourceType: "github", env: { GITHUB_API_URL: url } });
  const [row] = report.rows;
  assert.ok(row && row.kind === "artifact");
  for (const text of [row.name, JSON.stringify(row.columns)])
    assert.ok(!text.includes("\u001b") && !text.includes("\u202e"), text);
});
