import { type CredentialStore, openCredentialStore } from "./auth/credential-store.ts";
import { credentialsOf } from "./auth/credentials.ts";
import type { PostForm } from "./auth/oauth.ts";
import { type Prove, prover } from "./auth/prove.ts";
import { bytesPerSecond } from "./config/rate.ts";
import type { Settings } from "./config/settings.ts";
import type { S3Wishes } from "./s3/address.ts";
import { type ApiClient, openApi } from "./transfer/api.ts";
import { type HttpClient, type HttpSettings, openHttp, proxiesOf } from "./transfer/http.ts";
import { paceSettings } from "./transfer/pace.ts";

/** Something that holds connections. */
interface Closable {
  close(): Promise<void>;
}

/** What a run speaks to other machines with. */
export interface Clients {
  readonly requests: HttpSettings;
  readonly credentials: CredentialStore;
  /** Adds to a URL what the store has for it. */
  readonly prove: Prove;
  /** Packages and large files. */
  readonly http: HttpClient;
  /** Requests to services. */
  readonly api: ApiClient;
  /** Hands over something that is to be closed with these. */
  readonly closing: (one: Closable) => void;
  /** Ends all connections; to be called in every way out. */
  close(): Promise<void>;
}

/** @throws UsageError BAD_CONFIG when the file of credentials that the environment names can't be used */
export async function openClients(
  settings: Settings,
  { env, now, warn }: { env: NodeJS.ProcessEnv; now: () => number; warn: (message: string) => void },
): Promise<Clients> {
  const rate = bytesPerSecond(settings.limit_rate ?? 0);
  const requests: HttpSettings = {
    connections: settings.max_concurrent_downloads,
    totalTimeoutMs: settings.timeout_seconds * 1000,
    tokens: settings,
    proxies: proxiesOf(env),
    pace: rate > 0 ? paceSettings(rate) : undefined,
  };
  const post: PostForm = (url, form) => {
    const headers = { "content-type": "application/x-www-form-urlencoded", accept: "application/json" };
    const body = new URLSearchParams(form).toString();
    const request = { method: "POST", url, headers, body, anonymous: true, maxAnswerBytes: 1024 * 1024 } as const;
    return api.send(request, AbortSignal.timeout(requests.totalTimeoutMs));
  };
  const credentials = await openCredentialStore({ env, now, warn, post });
  const prove = prover(credentialsOf(settings), credentials);
  const api = openApi(requests, prove);
  const http = openHttp(requests, prove);
  const open: Closable[] = [http, api];
  return {
    requests,
    credentials,
    prove,
    http,
    api,
    closing: (one) => void open.push(one),
    close: async () => void (await Promise.all(open.splice(0).map((one) => one.close()))),
  };
}

/** What the settings say of S3 servers. */
export function s3Of(settings: Settings): S3Wishes {
  const { s3_region, s3_endpoint, s3_addressing_style, s3_anonymous } = settings;
  return {
    region: s3_region,
    endpoint: s3_endpoint,
    addressingStyle: s3_addressing_style,
    anonymous: s3_anonymous,
  };
}
