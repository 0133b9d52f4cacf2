import type { CredentialStore } from "../auth/credential-store.ts";
import { SourceError, TransferError } from "../errors.ts";
import { parseOciAddress } from "../oci/address.ts";
import { openAuthority } from "../oci/authority.ts";
import { DEPLOYED, type OciPlace } from "../oci/layout.ts";
import { type Descriptor, openRegistry } from "../oci/registry.ts";
import { storedCredential } from "../oci/stored-credential.ts";
import type { ApiClient } from "../transfer/api.ts";
import type { HttpClient } from "../transfer/http.ts";
import { pool } from "../transfer/pool.ts";
import { redactUrl } from "../transfer/redact.ts";
import type { RetryOptions } from "../transfer/retry.ts";
import type { ChannelAddress } from "./channel-address.ts";
import type { ChannelPlace, PackagePlace } from "./channel-place.ts";

/** Subdirs that are asked for at the same time. */
const PROBES = 8;

export interface OciContext {
  readonly http: HttpClient;
  readonly api: ApiClient;
  readonly credentials: CredentialStore;
  readonly env: NodeJS.ProcessEnv;
  readonly retry: Omit<RetryOptions, "signal">;
}

/**
 * The files of a channel in a registry: its layers, by the paths of a channel.
 * @param base `oci://host/channel/`.
 * @param known the subdirs that some client knows.
 * @throws UsageError BAD_TARGET where it is no address of a registry
 */
export function ociPlace(
  address: ChannelAddress,
  base: string,
  context: OciContext,
  known: readonly string[],
): ChannelPlace {
  const { http, api, retry } = context;
  const at = parseOciAddress(base);
  const authority = openAuthority(at.registry, api, () => storedCredential(at, context), retry.clock.now);
  const registry = openRegistry({ registry: at.registry, api, http, authority, retry });

  const layerAt = async (place: OciPlace, signal: AbortSignal): Promise<Descriptor | undefined> => {
    const found = await registry.manifest(place.repository, place.tag, signal);
    return found?.manifest.layers.find((l) => l.mediaType === place.mediaType);
  };
  const indexAt = (path: string): OciPlace | undefined => {
    const slash = path.lastIndexOf("/");
    return slash < 0 ? undefined : DEPLOYED.index(at.path, path.slice(0, slash), path.slice(slash + 1));
  };
  const read: ChannelPlace["read"] = async (path, limit, signal, unlessVersion) => {
    const place = indexAt(path);
    const layer = place && (await layerAt(place, signal));
    if (!place || !layer) return undefined;
    if (layer.digest === unlessVersion) return "unchanged";
    if (layer.size > limit) {
      const what = `${at.where}: ${path} has ${layer.size} bytes, ${limit} are allowed`;
      throw new TransferError(
        "SERVER_ERROR",
        { what, why: "no index is so large", next: "leave it out" },
        { mayPass: false },
      );
    }
    return { bytes: await registry.blob(place.repository, layer, signal), version: layer.digest };
  };
  const inside = (url: string): string | undefined =>
    url.startsWith(`${at.where}/`) ? decodeURIComponent(url.slice(at.where.length + 1)) : undefined;

  return {
    address,
    key: base,
    read,
    async isUnchanged(path, version, signal) {
      const place = indexAt(path);
      return place !== undefined && (await layerAt(place, signal))?.digest === version;
    },
    async subdirs(among, signal) {
      const there: string[] = [];
      const look = async (subdir: string) => {
        const place = DEPLOYED.index(at.path, subdir, "repodata.json") as OciPlace;
        if (await registry.manifest(place.repository, place.tag, signal)) there.push(subdir);
      };
      for await (const _ of pool(among ?? known, PROBES, look, signal));
      return there.sort();
    },
    async readAt(url, limit, signal) {
      const path = inside(url);
      const file = path === undefined ? undefined : await read(path, limit, signal);
      return file === "unchanged" ? undefined : file;
    },
    resolve(from, relative) {
      const asHttps = (url: string) => url.replace(/^oci:/i, "https:");
      const to = new URL(
        asHttps(relative),
        asHttps(`${at.where}/${from.split("/").map(encodeURIComponent).join("/")}`),
      );
      const url = to.toString().replace(/^https:/, /^https?:/i.test(relative) ? "https:" : "oci:");
      if (to.protocol === "https:" && (url.startsWith("https:") || url.startsWith(`${at.where}/`))) return url;
      throw new SourceError("BAD_INDEX", {
        what: `${address.name}: its index points elsewhere`,
        why: `it names ${redactUrl(relative)}, which is not followed from there`,
        next: "tell the channel's owner",
      });
    },
    package(url): PackagePlace {
      const path = inside(url);
      const told = { origin: redactUrl(url), key: url };
      if (path === undefined) return { ...told, address: { url }, open: (request, s) => http.get(url, request, s) };
      return {
        ...told,
        async open(request, signal) {
          const slash = path.lastIndexOf("/");
          const place = DEPLOYED.package(at.path, path.slice(0, slash), path.slice(slash + 1));
          const layer = await layerAt(place, signal).catch((e: unknown) => {
            // It was asked for often enough.
            throw e instanceof TransferError ? new TransferError(e.code, e, { mayPass: false }) : e;
          });
          if (layer) return registry.openBlob(place.repository, layer.digest)(request, signal);
          const why = `no layer of ${place.repository}:${place.tag} is a package of this kind`;
          const next = "tell the channel's owner; its index names what is not there";
          throw new TransferError("NOT_FOUND", { what: url, why, next }, { mayPass: false });
        },
      };
    },
  };
}
