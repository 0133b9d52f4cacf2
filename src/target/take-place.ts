import { renameSync } from "node:fs";

/** Another writer, who holds no lock of ours, put something there at the same moment. */
class Raced extends Error {}

/** How often a place that others keep taking is tried. */
const TRIES = 10;

/**
 * Gives an unpacked package its name; what had it goes aside. A reader sees the one or the other, or for a moment none.
 * @param aside a name that is free, on the same disk.
 * @returns whether something lies aside.
 * @throws Raced when the name was taken between the two steps.
 */
export function takePlace(unpacked: string, final: string, aside: string): boolean {
  let had = true;
  try {
    renameSync(final, aside);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== "ENOENT") throw e;
    had = false;
  }
  try {
    renameSync(unpacked, final);
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException;
    if (code === "ENOTEMPTY" || code === "EEXIST" || code === "EPERM") throw new Raced(final, { cause: e });
    throw e;
  }
  return had;
}

/** Runs what takes a place again when it was `Raced`: it looks anew at what is there. */
export async function untilPlaced<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (e) {
      if (!(e instanceof Raced) || tries === TRIES) throw e instanceof Raced ? e.cause : e;
    }
  }
}
