import { PackageError } from "./errors.ts";

/** A worker thread ended while it had work. What it had may have nothing to do with it: only who was alone with it is to blame. */
export class LostThread extends Error {
  /** @param why what Node says of it, or the code that it ended with. */
  constructor(why: Error | number) {
    super(typeof why === "number" ? `a worker thread ended with code ${why}` : why.message, {
      cause: typeof why === "number" ? undefined : why,
    });
    this.name = "LostThread";
  }

  /** What is told of the package that the thread had when it ended. It may be a good one: nothing is known of its content. */
  toldOf(fileName: string): PackageError {
    return new PackageError("UNREADABLE", {
      what: `${fileName}: could not be read`,
      why: `the thread that had it ended: ${this.message}`,
      next: "the others went on; run again with more memory free, and leave it out if it stays",
      cause: this,
    });
  }
}
