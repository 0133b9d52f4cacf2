import { isToken, tableOf } from "../auth/credential.ts";
import type { ApiClient } from "../transfer/api.ts";
import { hideSecret, redactText } from "../transfer/redact.ts";

/**
 * A key for a server out of nothing but the job that we run in: the CI system vouches for the job with an id token, and the
 * server gives a key that lasts for a while (rattler_networking: `trusted_publishing`).
 */
export interface TrustedPublishing {
  /** Gives a new key. @throws Error that says why there is none, without secrets */
  mint(signal: AbortSignal): Promise<string>;
}

/**
 * Undefined outside the CI systems that are known, and where a job may not ask for id tokens. The audience is the server's
 * host, so that no server can use an id token at another; all of prefix.dev's share one.
 */
export function trustedPublishing(server: URL, env: NodeJS.ProcessEnv, api: ApiClient): TrustedPublishing | undefined {
  const { hostname } = server;
  const audience = hostname.endsWith(".prefix.dev") ? "prefix.dev" : hostname;
  const idToken = github(audience, env, api) ?? gitlab(audience, env);
  if (!idToken) return undefined;
  return {
    async mint(signal) {
      const token = await idToken(signal);
      hideSecret(token);
      const answer = await api.send(
        {
          method: "POST",
          url: new URL("/api/oidc/mint_token", server).toString(),
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ token }),
          anonymous: true,
          maxAnswerBytes: 64 * 1024,
        },
        signal,
      );
      const text = Buffer.from(answer.body).toString("utf8").trim();
      if (answer.status < 200 || answer.status > 299)
        throw new Error(`${server.host} gives no key to this job: it answered ${answer.status}: ${redactText(text)}`);
      if (!isToken(text)) throw new Error(`${server.host} gave no key`);
      hideSecret(text);
      return text;
    },
  };
}

type IdToken = (signal: AbortSignal) => Promise<string>;

/** GitHub Actions, where the job has the permission `id-token: write`. */
function github(audience: string, env: NodeJS.ProcessEnv, api: ApiClient): IdToken | undefined {
  const { ACTIONS_ID_TOKEN_REQUEST_URL: at, ACTIONS_ID_TOKEN_REQUEST_TOKEN: proof } = env;
  if (!at || !proof || !isToken(proof)) return undefined;
  return async (signal) => {
    const url = new URL(at);
    url.searchParams.set("audience", audience);
    const headers = { authorization: `Bearer ${proof}`, accept: "application/json" };
    const answer = await api.send(
      { method: "GET", url: url.toString(), headers, anonymous: true, maxAnswerBytes: 64 * 1024 },
      signal,
    );
    if (answer.status !== 200) throw new Error(`GitHub gave no id token: it answered ${answer.status}`);
    const said: unknown = JSON.parse(Buffer.from(answer.body).toString("utf8"));
    const token = tableOf(said) ? said["value"] : undefined;
    if (!isToken(token)) throw new Error("GitHub's answer holds no id token");
    return token;
  };
}

/** GitLab CI, where the job names the audience under `id_tokens`: `PREFIX_DEV_ID_TOKEN` for `prefix.dev`. */
function gitlab(audience: string, env: NodeJS.ProcessEnv): IdToken | undefined {
  const token = env[`${audience.toUpperCase().replace(/[^A-Z0-9]/g, "_")}_ID_TOKEN`];
  if (env["GITLAB_CI"] !== "true" || !isToken(token)) return undefined;
  return async () => token;
}
