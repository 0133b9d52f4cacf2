import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PackageError, type TransferError } from "../errors.ts";
import { conflict, type Offer, type Present, settle } from "../plan/plan.ts";
import type { Body } from "../transfer/api.ts";
import { fileBody } from "../transfer/multipart.ts";
import type { Place } from "../transfer/place.ts";
import { type RetryOptions, withRetries } from "../transfer/retry.ts";
import type { Received } from "../transfer/worker-messages.ts";
import type { TargetContext } from "./kinds.ts";
import { noSeen } from "./seen.ts";
import type { ServiceIndex } from "./service-index.ts";
import type { Taken, TakeOptions, Target } from "./target.ts";

/** A server that takes packages one by one and indexes them itself. `serviceTarget` makes a target of it. */
export interface Service {
  /** For people: the channel's address, secrets removed. */
  readonly where: string;
  /** What it is called, in errors. */
  readonly name: string;
  readonly index: ServiceIndex;
  /** Whether it takes attestations along with packages. */
  readonly attests?: true;
  /**
   * Sends a package, in one or several requests. "exists" when the service has a file of this name and `replace` is not set.
   * It is called again after errors that may pass.
   * @param replace a file of this name may be there, and goes.
   * @throws MirrorError
   */
  send(upload: Upload, replace: boolean, signal: AbortSignal): Promise<"sent" | "exists">;
}

/** A package on its way out. */
export interface Upload extends Received {
  readonly body: Body;
  /** Where its attestations may lie. */
  readonly sidecars: readonly Place[];
  /** The sidecar that its record promises, checked: then no other counts. */
  readonly attested: Uint8Array | undefined;
  readonly warn: (message: string) => void;
}

/** Most channels have no other subdirs: looked into for packages that don't say theirs before they are read. */
const USUAL = ["noarch", ..."linux-64 linux-aarch64 linux-ppc64le osx-64 osx-arm64 win-64 win-arm64".split(" ")];

/**
 * A service as a target: nothing is sent that its index lists with the same bytes, and a name that turns out to be taken is
 * settled by what is there now.
 */
export function serviceTarget(service: Service, context: TargetContext): Target {
  const retry = retryOf(context);
  const { index } = service;
  /** Two sources of one run may hold the same name; the first to arrive has it. */
  const claimed = new Map<string, string>();
  let folder: Promise<string> | undefined;

  const take = async (received: Received, present: readonly Present[], options: TakeOptions): Promise<Taken> => {
    const { fileName, subdir, sha256, stagedPath, size } = received;
    const { onConflict, origin, warn, signal } = options;
    const listed = present.find((p) => p.subdir === subdir) ?? (await index.listed(subdir, fileName, signal));
    const decision = settle(received, listed, onConflict, origin);
    if (decision === "keep") return { outcome: "kept" };
    if (decision === "skip") return { outcome: "skipped" };
    const { sidecars = [], attested } = options;
    const upload: Upload = { ...received, body: fileBody(stagedPath, size), sidecars, attested, warn };
    let tries = 0;
    const send = (replace: boolean) => {
      const once = () => {
        tries++;
        return service.send(upload, replace, signal);
      };
      const onRetry = (error: TransferError, waitMs: number) =>
        warn(`${error.why}; sending it again in ${(waitMs / 1000).toFixed(1)} s`);
      return withRetries(once, { ...retry, signal, onRetry });
    };
    const sendOver = async (): Promise<Taken> => {
      if ((await send(true)) === "sent") return { outcome: "replaced" };
      const there = await index.now(subdir, fileName, sha256, signal);
      if (there?.recorded?.sha256 === sha256) return { outcome: "replaced" };
      throw notReplaced(service, received);
    };
    if (decision === "replace") return sendOver();
    if ((await send(false)) === "sent") return { outcome: "added" };
    const triesUntilThere = tries;
    const there = await index.now(subdir, fileName, sha256, signal);
    if (there) {
      const settled = settle(received, there, onConflict, origin);
      // A try whose answer was lost may have succeeded.
      if (settled === "keep") return { outcome: triesUntilThere > 1 ? "added" : "kept" };
      return settled === "skip" ? { outcome: "skipped" } : sendOver();
    }
    if (onConflict === "skip") return { outcome: "skipped" };
    if (onConflict === "replace") return sendOver();
    throw unseen(service, received);
  };

  return {
    where: service.where,
    attests: service.attests === true,
    seen: noSeen,
    placeOf: () => undefined,
    async present(offers, signal) {
      const found = new Map<string, Present[]>();
      const inSubdir = async ([subdir, fileNames]: readonly [string, ReadonlySet<string>]) => {
        for (const fileName of fileNames) {
          const there = await index.listed(subdir, fileName, signal);
          if (there) found.set(fileName, [...(found.get(fileName) ?? []), there]);
        }
      };
      await Promise.all([...asked(offers)].map(inSubdir));
      return found;
    },
    staging() {
      folder ??= mkdtemp(join(tmpdir(), "meso-forge-mirror-"));
      return folder;
    },
    async take(received, present, options) {
      const { fileName, subdir, sha256 } = received;
      const path = `${subdir}/${fileName}`;
      const earlier = claimed.get(path);
      if (earlier === sha256) return { outcome: "kept" };
      if (earlier !== undefined)
        throw conflict(fileName, { subdir, recorded: { sha256: earlier } }, options.origin, sha256);
      claimed.set(path, sha256);
      try {
        return await take(received, present, options);
      } catch (e) {
        claimed.delete(path);
        throw e;
      }
    },
    publish: async () => [],
    async close() {
      const made = await folder?.catch(() => undefined);
      if (made !== undefined) await rm(made, { recursive: true, force: true });
    },
  };
}

/** How often a service is asked again, and for how long. */
export function retryOf(context: TargetContext): Omit<RetryOptions, "signal"> {
  return { attempts: context.retryAttempts, longestWaitMs: context.longestWaitMs, clock: context.clock };
}

/** Which names to look for in which subdirs. */
function asked(offers: readonly Offer[]): Map<string, Set<string>> {
  const bySubdir = new Map<string, Set<string>>();
  for (const { subdir, fileName } of offers)
    for (const s of subdir === undefined ? USUAL : [subdir]) {
      const names = bySubdir.get(s) ?? new Set();
      bySubdir.set(s, names.add(fileName));
    }
  return bySubdir;
}

function notReplaced(service: Service, { fileName, subdir }: Received): PackageError {
  return new PackageError("CONFLICT", {
    what: `${fileName}: ${service.name} does not let it be replaced`,
    why: `${service.where} has other bytes as ${subdir}/${fileName}, and keeps them`,
    next: "nothing was changed; remove the file there first, or choose --on-conflict skip",
  });
}

function unseen(service: Service, { fileName, subdir, sha256 }: Received): PackageError {
  return new PackageError("CONFLICT", {
    what: `${fileName}: the target has a file of this name already`,
    why: `${service.where} says so of ${subdir}/${fileName}, and does not show which; ours has sha256 ${sha256}`,
    next: "run again when its index is up to date, or choose --on-conflict skip or replace",
  });
}
