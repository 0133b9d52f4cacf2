import type { Credential } from "../auth/credential.ts";
import { factsOf } from "../conda/record-facts.ts";
import { TargetError, TransferError } from "../errors.ts";
import { findRecord } from "../index/repodata.ts";
import { type OciAddress, parseOciAddress } from "../oci/address.ts";
import { openAuthority } from "../oci/authority.ts";
import { DEPLOYED } from "../oci/layout.ts";
import { openRegistry } from "../oci/registry.ts";
import { storedCredential } from "../oci/stored-credential.ts";
import type { Present } from "../plan/plan.ts";
import { openUnpackers } from "../unpack/unpackers.ts";
import type { TargetContext } from "./kinds.ts";
import { ociStore } from "./oci-store.ts";
import { readIndex } from "./read-index.ts";
import { cornerOf } from "./s3-corner.ts";
import { retryOf } from "./service.ts";
import type { Store } from "./store.ts";
import { storeTarget } from "./store-target.ts";
import type { Target } from "./target.ts";

/**
 * A channel in an OCI registry.
 * @throws UsageError BAD_TARGET
 */
export async function openOci(text: string, context: TargetContext): Promise<Target> {
  const address = parseOciAddress(text);
  const { registry: origin, where } = address;
  const authority = openAuthority(origin, context.api, () => credentialFor(address, context), context.clock.now);
  const retry = retryOf(context);
  const registry = openRegistry({
    registry: origin,
    api: context.api,
    http: context.http,
    authority,
    retry,
    actions: "pull,push",
  });
  const unpackers = openUnpackers();
  const corner = await cornerOf(context.env, where, "oci");
  const store = ociStore({
    where,
    registry,
    layout: DEPLOYED,
    channel: address.path,
    unpackers,
    clock: context.clock,
    corner,
  });
  const target = await storeTarget(store);
  return {
    ...target,
    async present(offers, signal) {
      return told(() => presentIn(store, new Set(offers.map((o) => o.fileName)), signal));
    },
    async publish(additions, options, removals) {
      // What the layout has no place for.
      const files = { ...options.files, shards: false, currentRepodata: false, runExports: false };
      return told(() => target.publish(additions, { ...options, files }, removals));
    },
    async close() {
      await unpackers.close();
      await target.close();
    },
  };
}

/** What the channel's indexes list; one of them is in memory at a time. That a blob which an index lists is there is believed. */
async function presentIn(
  store: Store,
  fileNames: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Map<string, Present[]>> {
  const found = new Map<string, Present[]>();
  for (const subdir of await store.folders(signal)) {
    const { index } = await readIndex(store, subdir, signal);
    for (const fileName of fileNames) {
      const record = findRecord(index, fileName);
      if (!record) continue;
      const recorded = factsOf(JSON.parse(Buffer.from(record).toString("utf8")) as Record<string, unknown>);
      found.set(fileName, [
        ...(found.get(fileName) ?? []),
        { subdir, fileName, recorded, fileSize: recorded.size ?? 0 },
      ]);
    }
  }
  return found;
}

/** Who we are to the registry; oras's variables name no host, and are for whatever we push to. */
function credentialFor(address: OciAddress, context: TargetContext): Promise<Credential | undefined> {
  const { ORAS_USER: username, ORAS_PASS: password } = context.env;
  if (!address.user && username && password) return Promise.resolve({ kind: "basic", username, password });
  return storedCredential(address, context);
}

/** Failures of the registry, told as the target's: the exit code is 3, and the run ends with it where nothing can go on. */
async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (e) {
    if (!(e instanceof TransferError)) throw e;
    const code = e.code === "REFUSED" ? "REFUSED" : e.code === "NOT_FOUND" ? "NOT_FOUND" : "UNREACHABLE";
    throw new TargetError(code, { what: e.what, why: e.why, next: e.next, cause: e });
  }
}
