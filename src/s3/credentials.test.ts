import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { Credential } from "../auth/credential.ts";
import { UsageError } from "../errors.ts";
import { redactText } from "../transfer/redact.ts";
import { s3KeyProvider } from "./credentials.ts";

const folder = mkdtempSync(join(tmpdir(), "mfm-keys-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const stored: Credential = { kind: "s3", accessKeyId: "stored", secretAccessKey: "stored-secret-words" };
const provider = (env: Record<string, string>, found?: Credential, anonymous = false) =>
  s3KeyProvider({ env, store: { find: async () => found }, url: "s3://bucket/ch", anonymous });

test("keys come from the environment under rattler's names, then AWS's, then from rattler's store", async () => {
  const s3 = { S3_ACCESS_KEY_ID: "s3", S3_SECRET_ACCESS_KEY: "s3-secret-words", S3_SESSION_TOKEN: "s3-token-words" };
  const aws = { AWS_ACCESS_KEY_ID: "aws", AWS_SECRET_ACCESS_KEY: "aws-secret-words" };
  assert.deepEqual(await provider({ ...s3, ...aws }, stored)(), {
    accessKeyId: "s3",
    secretAccessKey: "s3-secret-words",
    sessionToken: "s3-token-words",
  });
  assert.deepEqual(await provider(aws, stored)(), { accessKeyId: "aws", secretAccessKey: "aws-secret-words" });
  assert.equal((await provider({}, stored)())?.accessKeyId, "stored");
  assert.equal(await provider(aws, stored, true)(), undefined);
});

test("what AWS's files have is found last, by profile, and asked for again when it ends", async () => {
  const [credentials, config] = [join(folder, "credentials"), join(folder, "config")];
  writeFileSync(credentials, "[work]\naws_access_key_id = filed\naws_secret_access_key = filed-secret-words\n");
  const counter = join(folder, "count");
  writeFileSync(counter, "");
  const program = join(folder, "program.cjs");
  // The keys of the first call are as good as over.
  writeFileSync(
    program,
    `const fs = require("node:fs"); fs.appendFileSync(${JSON.stringify(counter)}, "x");
    const n = fs.readFileSync(${JSON.stringify(counter)}).length;
    console.log(JSON.stringify({ Version: 1, AccessKeyId: "made" + n, SecretAccessKey: "made-secret-words", SessionToken: "made-token-words",
      Expiration: new Date(Date.now() + (n === 1 ? 60 : 3600) * 1000).toISOString() }));`,
  );
  writeFileSync(config, `[profile made]\ncredential_process = ${process.execPath} ${program}\n`);
  const files = { AWS_SHARED_CREDENTIALS_FILE: credentials, AWS_CONFIG_FILE: config };
  assert.equal((await provider({ ...files, AWS_PROFILE: "work" })())?.accessKeyId, "filed");
  const made = provider({ ...files, AWS_PROFILE: "made" });
  assert.equal((await made())?.accessKeyId, "made1");
  // AWS's library gives the old ones while it asks for new ones: the program has to be let speak meanwhile.
  let renewed = await made();
  while (renewed?.accessKeyId === "made1") {
    await setImmediate();
    renewed = await made();
  }
  assert.match(renewed?.accessKeyId ?? "", /^made[2-9]$/);
  assert.equal(renewed?.sessionToken, "made-token-words");
});

test("half a pair of keys is refused, and secrets that were found are kept out of what is said", async () => {
  await assert.rejects(provider({ AWS_ACCESS_KEY_ID: "half" }, stored)(), (e) => e instanceof UsageError);
  await provider({}, { ...stored, secretAccessKey: "never-to-be-seen" })();
  assert.ok(!redactText("the server says never-to-be-seen").includes("never-to-be-seen"));
});
