import { PackageError } from "../errors.ts";
import type { UnpackLimits } from "./limits.ts";

/** An AbortSignal, or what does its work where none can go. */
export interface Stop {
  throwIfAborted(): void;
}

/** Counts decoded bytes, and ends what unpacks to more than any package does. */
export class Meter {
  readonly #what: string;
  readonly #most: number;
  readonly #signal: Stop | undefined;
  #decoded = 0;

  constructor(what: string, compressed: number, limits: UnpackLimits, signal: Stop | undefined) {
    this.#what = what;
    this.#most = Math.min(limits.bytes, Math.max(limits.ratioFrom, compressed * limits.ratio));
    this.#signal = signal;
  }

  get left(): number {
    return this.#most - this.#decoded;
  }

  count(bytes: number): void {
    this.#signal?.throwIfAborted();
    this.#decoded += bytes;
    if (this.#decoded > this.#most) throw this.tooLarge();
  }

  tooLarge(): PackageError {
    return new PackageError("TOO_LARGE", {
      what: this.#what,
      why: `it unpacks to more than ${this.#most} bytes`,
      next: "the package is hostile or broken; leave it out",
    });
  }
}
