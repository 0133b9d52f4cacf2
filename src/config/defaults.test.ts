import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DEFAULTS, plainlyRight } from "./defaults.ts";
import { loadSettings } from "./load.ts";
import { settingsSchema } from "./settings.ts";

test("every setting but the jobs can be said in the environment, numbers and yes or no as well", async () => {
  const said: Record<string, string> = {
    max_concurrent_downloads: "7",
    packages_per_round: "70",
    retry_attempts: "7",
    timeout_seconds: "7.5",
    limit_rate: "2M",
    s3_region: "r",
    s3_endpoint: "http://localhost:9000",
    s3_addressing_style: "path",
    s3_anonymous: "true",
    github_token: "123",
    azure_devops_token: "456",
    github_api_url: "https://g.example.com",
    azure_devops_url: "https://a.example.com",
    zstd_level: "3",
    write_zst: "false",
    write_bz2: "true",
    write_shards: "false",
    write_current_repodata: "false",
    write_run_exports: "false",
    write_channeldata: "false",
    write_html: "false",
    delete_grace_days: "0",
    channel_alias: "https://c.example.com",
    base_url: "https://b.example.com",
    shard_grace_days: "0.5",
    lock_file: "l",
  };
  const { jobs: _, ...settings } = await loadSettings({
    env: Object.fromEntries(Object.entries(said).map(([key, text]) => [`MESO_FORGE_${key.toUpperCase()}`, text])),
  });
  assert.deepEqual(Object.keys(settings).sort(), Object.keys(said).sort());
  for (const [key, value] of Object.entries(settings)) assert.equal(String(value), said[key], key);
  assert.equal(settings.zstd_level, 3);
});

test("the defaults are the schema's", () => {
  assert.deepEqual(DEFAULTS, settingsSchema.parse({}));
});

test("what passes without the schema passes it too, with the same outcome", () => {
  const key = fc.constantFrom(...Object.keys(DEFAULTS), "constructor", "__proto__", "unknown");
  const number = fc.oneof(
    fc.integer({ min: -2, max: 90_000 }),
    fc.double(),
    fc.constantFrom(0, 1, 100, 101, 1000, 1001),
  );
  const address = fc.oneof(
    fc.webUrl(),
    fc.constantFrom(
      "http://localhost:9000",
      "https://s3.example.com",
      "http://127.0.0.1:1",
      "http://a.1",
      "http://x-",
      "auto",
    ),
  );
  const value = fc.oneof(number, fc.string(), address, fc.constantFrom(null, true, "3"));
  let passed = 0;
  fc.assert(
    fc.property(fc.dictionary(key, value, { maxKeys: 2, noNullPrototype: true }), (values) => {
      if (!plainlyRight(values)) return;
      passed++;
      assert.deepEqual({ ...DEFAULTS, ...values }, settingsSchema.parse(values));
    }),
    { numRuns: 3000 },
  );
  assert.ok(passed > 50, String(passed));
  assert.deepEqual([plainlyRight({ retry_attempts: "3" }), plainlyRight({ s3_region: null })], [false, false]);
});
