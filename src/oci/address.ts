import { UsageError } from "../errors.ts";
import { redactUrl } from "../transfer/redact.ts";

/** A channel in a registry. */
export interface OciAddress {
  /** "https://ghcr.io", "http://127.0.0.1:5000": without a slash at the end. */
  readonly registry: string;
  /** The channel's path in it, "channel-mirrors/conda-forge". */
  readonly path: string;
  /** For people: `oci://host/path`. */
  readonly where: string;
  /** What the address itself carries. */
  readonly user?: { readonly username: string; readonly password: string };
}

/** Parts of a repository's name (OCI distribution-spec, `name`). */
export const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;

/** Machines that are asked without TLS, as docker and oras ask them: nothing leaves this one. */
const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/;

/**
 * Reads `oci://host[:port]/channel`. Registries on this machine are spoken to in plain HTTP, all others with TLS.
 * @throws UsageError BAD_TARGET
 */
export function parseOciAddress(text: string): OciAddress {
  const refuse = (why: string) =>
    new UsageError("BAD_TARGET", {
      what: `${redactUrl(text)}: not a channel in a registry`,
      why,
      next: "write oci://HOST/CHANNEL, such as oci://ghcr.io/my-organization/my-channel",
    });
  let url: URL;
  try {
    // A scheme that the parser knows, so that it checks the host.
    url = new URL(text.replace(/^oci:/i, "https:"));
  } catch (e) {
    throw refuse((e as Error).message);
  }
  if (url.search || url.hash) throw refuse("it has a ? or a #");
  const path = url.pathname.replace(/^\/+|\/+$/g, "");
  if (path === "") throw refuse("it names no channel");
  if (!REPOSITORY.test(path))
    throw refuse(`registries take lower-case letters, digits and . _ - in names, not ${path}`);
  const registry = `${LOOPBACK.test(url.hostname) ? "http" : "https"}://${url.host}`;
  let user = {};
  try {
    if (url.username || url.password)
      user = { user: { username: decodeURIComponent(url.username), password: decodeURIComponent(url.password) } };
  } catch {
    throw refuse("its user or password has a % that begins no escape: write it as %25");
  }
  return { registry, path, where: `oci://${url.host}/${path}`, ...user };
}
