import assert from "node:assert/strict";
import { settingsFromEnv } from "../../src/config/load.ts";
import { openStore, type TargetContext } from "../../src/target/kinds.ts";
import type { Store } from "../../src/target/store.ts";
import { systemClock } from "../../src/transfer/retry.ts";

const tokens = {
  github_token: null,
  github_api_url: "https://api.github.com",
  azure_devops_token: null,
  azure_devops_url: "https://dev.azure.com",
};

/** Opens a channel as a command does, with the keys and the endpoint of an environment. Warnings fail the test. */
export function openStoreAt(
  target: string,
  env: NodeJS.ProcessEnv,
  more: { readonly type?: string; readonly warn?: (message: string) => void } = {},
): Promise<Store> {
  const endpoint = (settingsFromEnv(env)["s3_endpoint"] as string | undefined) ?? null;
  // What only services and package caches use is left out.
  const context = {
    env,
    requests: { connections: 8, totalTimeoutMs: 60_000, tokens, proxies: undefined },
    credentials: { find: async () => undefined },
    retryAttempts: 2,
    concurrency: 8,
    clock: systemClock,
    s3: { region: null, endpoint, addressingStyle: "auto", anonymous: false },
    warn: more.warn ?? ((message: string) => assert.fail(message)),
  } as unknown as TargetContext;
  return openStore(target, more.type, context);
}
