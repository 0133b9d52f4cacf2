import type { HttpSettings } from "./http.ts";
import type { Received } from "./worker-messages.ts";

/**
 * How a worker thread puts a small package into its place elsewhere, straight from memory: that spares writing it to disk,
 * reading it again, and the main thread's time. Plain data, so that it crosses threads.
 */
export interface PlacerPlan {
  /** URL of a module that exports `openPlacer` (an `OpenPlacer`). */
  readonly module: string;
  /** What `openPlacer` is given. May hold secrets; it goes to threads of this process alone. */
  readonly settings: unknown;
}

/** What a worker thread opens a plan with. */
export type OpenPlacer = (settings: unknown, http: HttpSettings) => PlacePackage;

/**
 * Puts a package that has passed every check under its name, if that is free.
 * @returns false when it was not done, whatever the reason: then the target is asked, and says why.
 */
export type PlacePackage = (bytes: Uint8Array, received: Received, signal: AbortSignal) => Promise<boolean>;

/** Opens plans, each once. */
export function placers(http: HttpSettings): (plan: PlacerPlan) => Promise<PlacePackage> {
  const opened = new Map<string, Promise<PlacePackage>>();
  return (plan) => {
    const of = JSON.stringify(plan);
    let placer = opened.get(of);
    if (!placer) {
      placer = import(plan.module).then((m: { openPlacer: OpenPlacer }) => m.openPlacer(plan.settings, http));
      opened.set(of, placer);
    }
    return placer;
  };
}
