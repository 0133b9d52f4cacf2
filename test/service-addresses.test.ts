import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MirrorError } from "../src/errors.ts";
import { noAttestations } from "../src/target/attestations.ts";
import { checkAttestations, checkKey, openTarget, type TargetContext } from "../src/target/kinds.ts";
import { textsOf } from "./support/arbitraries.ts";

const unused = new Proxy({}, { get: (_, name) => assert.fail(`${String(name)} is not to be used`) });
const context = (env: NodeJS.ProcessEnv = {}, apiKey: string | undefined = "a-key"): TargetContext => ({
  env,
  apiKey,
  api: unused as TargetContext["api"],
  http: unused as TargetContext["http"],
  requests: unused as TargetContext["requests"],
  credentials: { find: async () => undefined },
  attestations: noAttestations,
  retryAttempts: 0,
  longestWaitMs: 0,
  concurrency: 1,
  clock: { now: () => 0, sleep: async () => undefined, random: () => 0 },
  s3: unused as TargetContext["s3"],
  warn: () => undefined,
});

/** Addresses as people type and copy them: recognised by themselves, or by their type, and where they lead. */
const RIGHT: [type: string | undefined, text: string, where: string][] = [
  [undefined, "https://prefix.dev/channels/mine", "https://prefix.dev/mine"],
  [undefined, "https://prefix.dev/channels/mine/packages/zlib", "https://prefix.dev/mine"],
  [undefined, "https://prefix.dev/mine", "https://prefix.dev/mine"],
  [undefined, "https://repo.prefix.dev/mine/", "https://prefix.dev/mine"],
  [undefined, "https://beta.prefix.dev/some-one/mine", "https://beta.prefix.dev/some-one/mine"],
  [undefined, "prefix://conda.example.com/mine", "https://conda.example.com/mine"],
  [undefined, "https://prefix.dev/api/v1/upload/mine", "https://prefix.dev/mine"],
  ["prefix-dev", "mine", "https://prefix.dev/mine"],
  ["prefix", "https://conda.example.com/mine", "https://conda.example.com/mine"],
  [undefined, "quetz://conda.example.com/mine", "https://conda.example.com/get/mine"],
  [undefined, "quetz+http://conda.example.com:8000/mine", "http://conda.example.com:8000/get/mine"],
  [undefined, "https://quetz.example.com/get/mine", "https://quetz.example.com/get/mine"],
  ["quetz", "https://example.com/q/api/channels/mine", "https://example.com/q/get/mine"],
  ["quetz", "https://example.com/channels/mine", "https://example.com/get/mine"],
  ["quetz", "https://example.com/t/a-secret/get/mine", "https://example.com/get/mine"],
  [undefined, "artifactory://example.com/artifactory/mine", "https://example.com/artifactory/mine"],
  [undefined, "artifactory://example.com/mine", "https://example.com/mine"],
  [undefined, "https://example.com/artifactory/api/conda/mine/", "https://example.com/artifactory/mine"],
  [undefined, "https://example.jfrog.io/artifactory/mine", "https://example.jfrog.io/artifactory/mine"],
  [undefined, "https://anaconda.org/me", "https://conda.anaconda.org/me"],
  [undefined, "https://anaconda.org/me/dev", "https://conda.anaconda.org/me/label/dev"],
  [undefined, "https://conda.anaconda.org/me/label/dev", "https://conda.anaconda.org/me/label/dev"],
  [undefined, "anaconda://me/dev", "https://conda.anaconda.org/me/label/dev"],
  [undefined, "cloudsmith://me/mine", "cloudsmith://me/mine"],
  [undefined, "https://cloudsmith.io/~me/repos/mine/packages/", "cloudsmith://me/mine"],
  [undefined, "https://app.cloudsmith.com/me/mine", "cloudsmith://me/mine"],
  [undefined, "https://conda.cloudsmith.io/me/mine/", "cloudsmith://me/mine"],
  [undefined, "https://example.com/api/packages/me/conda", "https://example.com/api/packages/me/conda"],
  [undefined, "https://example.com/git/api/packages/me/conda/a/b", "https://example.com/git/api/packages/me/conda/a/b"],
  [undefined, "gitea://example.com/me/mine", "https://example.com/api/packages/me/conda/mine"],
  ["gitea", "forgejo://example.com/me", "https://example.com/api/packages/me/conda"],
  ["forgejo", "https://user:word@example.com/api/packages/me/conda", "https://example.com/api/packages/me/conda"],
];

test("addresses lead where they should, however they are written", async () => {
  for (const [type, text, where] of RIGHT) {
    const target = await openTarget(text, type, context({ ANACONDA_SERVER_URL: "", CLOUDSMITH_API_URL: "" }));
    assert.equal(target.where, where, text);
    await target.close();
  }
});

const WRONG: [type: string | undefined, text: string][] = [
  [undefined, "https://prefix.dev/"],
  [undefined, "https://prefix.dev/channels/"],
  [undefined, "https://prefix.dev/a/b/c/d"],
  ["prefix-dev", "https://prefix.dev/mi%2fne"],
  ["quetz", "ftp://example.com/mine"],
  ["quetz", "https://example.com/%00"],
  [undefined, "quetz://example.com/"],
  [undefined, "anaconda://"],
  [undefined, "https://anaconda.org/me/dev/more/of/it"],
  [undefined, "cloudsmith://me"],
  [undefined, "gitea://example.com/"],
];

test("an address that names no channel is wrong usage, with one that is right", async () => {
  for (const [type, text] of WRONG)
    await assert.rejects(openTarget(text, type, context()), (e) => {
      assert.ok(e instanceof MirrorError && e.exitCode === 2, `${text}: ${e}`);
      return true;
    });
});

test("a host that only looks like a service's is none of its", async () => {
  for (const text of [
    "https://prefix.dev.evil.example/x",
    "https://evilprefix.dev/x",
    "https://prefix.dev@evil.example/x",
    "https://evil.example/prefix.dev/x",
    "https://evilanaconda.org/x",
    "https://anaconda.org.evil.example/x",
    "https://cloudsmith.io.evil.example/a/b",
  ])
    await assert.rejects(openTarget(text, undefined, context()), /not a target/, text);
});

test("whatever is typed, a target opens or is refused in our words", async () => {
  const text = textsOf(["https://", "prefix.dev", "quetz://", "/", "get", "t", "%", "@", ":", "..", "a b", "#?"]);
  const type = fc.constantFrom("prefix-dev", "quetz", "artifactory", "anaconda", "cloudsmith", "gitea");
  await fc.assert(
    fc.asyncProperty(text, type, async (t, kind) => {
      try {
        await (await openTarget(t, kind, context())).close();
      } catch (e) {
        assert.ok(e instanceof MirrorError && e.exitCode === 2, String(e));
      }
    }),
  );
});

test("a key of the environment is not taken for a host that it is not for", async () => {
  const env = { PREFIX_API_KEY: "k", ANACONDA_API_KEY: "k", CLOUDSMITH_API_KEY: "k", ARTIFACTORY_TOKEN: "k" };
  await openTarget("https://prefix.dev/mine", undefined, { ...context(env), apiKey: undefined });
  const refused: [string, string | undefined, NodeJS.ProcessEnv][] = [
    ["https://example.com/mine", "prefix-dev", env],
    ["https://prefix.dev/mine", undefined, { ...env, PREFIX_SERVER_URL: "https://conda.example.com" }],
    ["artifactory://example.com/mine", undefined, { ...env, ARTIFACTORY_SERVER_URL: "https://example.com:8443" }],
    ["artifactory://example.com/mine", undefined, { ...env, ARTIFACTORY_SERVER_URL: "no URL" }],
  ];
  for (const [text, type, e] of refused)
    await assert.rejects(openTarget(text, type, { ...context(e), apiKey: undefined }), /no key/, text);
});

test("a key on the command line is for one target alone", () => {
  checkKey(["./folder", "https://prefix.dev/mine"], undefined);
  assert.throws(() => checkKey(["./folder"], undefined), /none of the targets takes a key/);
  checkAttestations(["./folder", "https://prefix.dev/mine"], undefined);
  assert.throws(() => checkAttestations(["./folder"], undefined), /none of the targets takes attestations/);
  assert.throws(() => checkKey(["quetz://a.example/x", "quetz://b.example/x"], undefined), /2 targets take keys/);
});
