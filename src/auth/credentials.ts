import { basicAuthorization } from "./credential.ts";

/** Gives the headers that prove who we are to one host, and none to any other. */
export interface Credentials {
  headersFor(url: URL): Record<string, string>;
}

/** The settings that hold tokens, and the addresses of the services they are for. */
export interface TokenSettings {
  readonly github_token: string | null;
  readonly github_api_url: string;
  readonly azure_devops_token: string | null;
  readonly azure_devops_url: string;
}

const NONE: Record<string, string> = {};

/**
 * Tokens of the settings, each bound to the hosts of its service: GitHub's to the API host and, for github.com itself,
 * to the hosts that serve its files; Azure's to the Azure DevOps host.
 */
export function credentialsOf(settings: TokenSettings): Credentials {
  const byOrigin = new Map<string, Record<string, string>>();
  if (settings.github_token) {
    const header = { authorization: `Bearer ${settings.github_token}` };
    const api = new URL(settings.github_api_url);
    byOrigin.set(api.origin, header);
    if (api.hostname === "api.github.com") {
      byOrigin.set("https://github.com", header);
      byOrigin.set("https://raw.githubusercontent.com", header);
    }
  }
  if (settings.azure_devops_token) {
    byOrigin.set(new URL(settings.azure_devops_url).origin, {
      authorization: basicAuthorization("", settings.azure_devops_token),
    });
  }
  return { headersFor: (url) => byOrigin.get(url.origin) ?? NONE };
}
