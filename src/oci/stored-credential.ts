import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Credential } from "../auth/credential.ts";
import type { CredentialStore } from "../auth/credential-store.ts";
import type { OciAddress } from "./address.ts";
import { dockerCredential } from "./authority.ts";

/**
 * Who we are to a registry, wherever that is bound to its host: in the address, in rattler's store, in what docker and oras
 * logged in with (`config.json`; credential helpers are not asked).
 */
export async function storedCredential(
  address: OciAddress,
  context: { readonly credentials: CredentialStore; readonly env: NodeJS.ProcessEnv },
): Promise<Credential | undefined> {
  const { env, credentials } = context;
  if (address.user) return { kind: "basic", ...address.user };
  const stored = await credentials.find(`${address.registry}/${address.path}`);
  if (stored && stored.kind !== "s3" && stored.kind !== "conda-token") return stored;
  const folder = env["DOCKER_CONFIG"] || join(env["HOME"] || homedir(), ".docker");
  const text = await readFile(join(folder, "config.json"), "utf8").catch(() => "");
  return dockerCredential(text, address.registry);
}
