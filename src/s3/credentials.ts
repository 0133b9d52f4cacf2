import type { CredentialStore } from "../auth/credential-store.ts";
import { UsageError } from "../errors.ts";
import { hideSecret } from "../transfer/redact.ts";
import type { S3Keys } from "./sign.ts";

export interface S3KeyOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly store: CredentialStore;
  /** `s3://bucket/prefix`: what the store is asked for. */
  readonly url: string;
  /** Sign nothing, whatever keys there are. */
  readonly anonymous: boolean;
}

/** Gives the keys in force, or undefined where requests are not to be signed. */
export type S3KeyProvider = (options?: { readonly renewed?: boolean }) => Promise<S3Keys | undefined>;

export interface LastingKeys extends S3KeyProvider {
  /** Whether those that were given last don't end. */
  lasting(): boolean;
}

/** Keys that end sooner than this are renewed. */
const MARGIN_MS = 5 * 60 * 1000;

/**
 * Where keys come from, the first that has some: the environment under rattler's names (`S3_ACCESS_KEY_ID`, …) and AWS's
 * (`AWS_ACCESS_KEY_ID`, …), rattler's store, and what is left of AWS's own chain: profiles with SSO, roles and processes, web
 * identity, containers, instances. That chain is a library that is loaded only when it is come to.
 * @throws UsageError BAD_CONFIG when there are none
 */
export function s3KeyProvider({ env, store, url, anonymous }: S3KeyOptions): LastingKeys {
  let known: Promise<{ readonly keys: S3Keys; readonly expires: number | undefined }> | undefined;
  let chain: (() => Promise<AwsKeys>) | undefined;
  const find = async () => {
    const fixed = keysIn(env, "S3") ?? keysIn(env, "AWS") ?? (await stored(store, url));
    if (fixed) return { keys: hidden(fixed), expires: undefined };
    chain ??= await awsChain(env);
    const found = await chain().catch((e: Error) => {
      throw noKeys(url, e);
    });
    return { keys: hidden(found), expires: found.expiration?.getTime() };
  };
  let lasting = true;
  const provide = async ({ renewed = false } = {}) => {
    if (anonymous) return undefined;
    const now = await known;
    if (!known || renewed || (now?.expires !== undefined && now.expires - Date.now() < MARGIN_MS)) known = find();
    try {
      const { keys, expires } = await known;
      lasting = expires === undefined;
      return keys;
    } catch (e) {
      known = undefined;
      throw e;
    }
  };
  return Object.assign(provide, { lasting: () => lasting });
}

function hidden({ accessKeyId, secretAccessKey, sessionToken }: S3Keys): S3Keys {
  hideSecret(secretAccessKey);
  if (sessionToken) hideSecret(sessionToken);
  return { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) };
}

function keysIn(env: NodeJS.ProcessEnv, names: "S3" | "AWS"): S3Keys | undefined {
  const [id, secret] = [env[`${names}_ACCESS_KEY_ID`], env[`${names}_SECRET_ACCESS_KEY`]];
  if (!id && !secret) return undefined;
  if (!id || !secret) {
    throw new UsageError("BAD_CONFIG", {
      what: `${names}_${id ? "SECRET_ACCESS_KEY" : "ACCESS_KEY_ID"} is not set`,
      why: `${names}_${id ? "ACCESS_KEY_ID" : "SECRET_ACCESS_KEY"} is, and one is nothing without the other`,
      next: "set both, or none to have keys looked for elsewhere",
    });
  }
  return { accessKeyId: id, secretAccessKey: secret, sessionToken: env[`${names}_SESSION_TOKEN`] || undefined };
}

async function stored(store: CredentialStore, url: string): Promise<S3Keys | undefined> {
  const found = await store.find(url);
  return found?.kind === "s3" ? found : undefined;
}

interface AwsKeys extends S3Keys {
  readonly expiration?: Date;
}

async function awsChain(env: NodeJS.ProcessEnv): Promise<() => Promise<AwsKeys>> {
  const { defaultProvider } = await import("@aws-sdk/credential-provider-node");
  const profile = env["AWS_PROFILE"];
  const [filepath, configFilepath] = [env["AWS_SHARED_CREDENTIALS_FILE"], env["AWS_CONFIG_FILE"]];
  return defaultProvider({
    ...(profile ? { profile } : {}),
    ...(filepath ? { filepath } : {}),
    ...(configFilepath ? { configFilepath } : {}),
    maxRetries: 1,
  });
}

function noKeys(url: string, e: Error): UsageError {
  return new UsageError("BAD_CONFIG", {
    what: `${url}: no keys to sign requests with`,
    why: `neither the environment nor rattler's store has some, and AWS's chain says: ${e.message.split("\n")[0]}`,
    next: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, run rattler auth login s3://…, or give --s3-anonymous",
    cause: e,
  });
}
