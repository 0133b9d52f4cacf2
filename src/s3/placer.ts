import type { HttpSettings } from "../transfer/http.ts";
import type { PlacePackage, PlacerPlan } from "../transfer/placer.ts";
import { systemClock } from "../transfer/retry.ts";
import type { S3Address, S3Place } from "./address.ts";
import { openS3Client } from "./client.ts";
import { putObject } from "./object.ts";
import type { S3Keys } from "./sign.ts";

/** What a worker thread needs to know to write to a bucket. */
export interface S3PlacerSettings {
  readonly address: S3Address;
  readonly place: S3Place;
  /** Undefined where requests are not signed. */
  readonly keys: S3Keys | undefined;
  /** Headers of every package, by lower-case name; by the end of its name. */
  readonly headers: readonly (readonly [ending: string, headers: Readonly<Record<string, string>>])[];
}

/** How worker threads write packages to a bucket that keeps conditions on writes. */
export function s3Placer(settings: S3PlacerSettings): PlacerPlan {
  // From source the thread runs TypeScript, from the build JavaScript: this very file.
  return { module: import.meta.url, settings };
}

/** Runs in a worker thread; see `OpenPlacer`. One try: whatever goes wrong, the target tries again and tells. */
export function openPlacer(settings: S3PlacerSettings, requests: HttpSettings): PlacePackage {
  const { address, place, keys, headers } = settings;
  const client = openS3Client(address, {
    ...place,
    keys: async () => keys,
    requests,
    connections: requests.connections,
    retryAttempts: 0,
    clock: systemClock,
  });
  return async (bytes, { subdir, fileName, sha256, md5 }, signal) => {
    try {
      const own = headers.find(([ending]) => fileName.endsWith(ending))?.[1] ?? {};
      const known = { "x-amz-meta-package-sha256": sha256, "x-amz-meta-package-md5": md5 };
      const key = `${subdir}/${fileName}`;
      const object = { key, headers: { ...own, ...known }, body: bytes, sha256, expect: "absent" } as const;
      return (await putObject(client, object, signal)) !== undefined;
    } catch {
      return false;
    }
  };
}
