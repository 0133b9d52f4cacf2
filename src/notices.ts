import { isInterruption } from "./errors.ts";
import type { Run } from "./run.ts";
import type { TargetIndex } from "./target/target.ts";

/** rattler reads no more of one. */
const MOST = 1024 * 1024;

/** What the copy that we brought last is kept as. */
const KEY = "notices.json";

/**
 * Carries the notices of a channel that is followed as a whole (CEP 6) into the target: as they are, unless somebody put others
 * there. They are no reason for a run to fail.
 */
export async function carryNotices(index: TargetIndex, run: Run): Promise<void> {
  const [source] = run.sources;
  const channel = source?.channel;
  if (!channel || run.sources.length > 1 || channel.address.subdir !== undefined) return;
  let found: Uint8Array | undefined;
  try {
    const file = await channel.place.read(KEY, MOST, run.signal);
    found = file === "unchanged" ? undefined : file?.bytes;
    if (found && !isNotices(found)) return;
  } catch (e) {
    if (isInterruption(e, run.signal)) return;
    run.emit({
      type: "warning",
      message: `${channel.address.name}: its notices can't be read: ${(e as Error).message}`,
    });
    return;
  }
  const there = await index.notices.read();
  if (there) {
    const ours = await index.followed.kept(KEY);
    const isOurs = ours !== undefined && Buffer.compare(ours, there) === 0;
    const isFound = found !== undefined && Buffer.compare(found, there) === 0;
    // A run that died in between wrote them and did not note it.
    if (isFound && !isOurs) await index.followed.keep(KEY, there);
    if (isFound || !isOurs) return;
  } else if (!found) return;
  await index.notices.write(found);
  if (found) await index.followed.keep(KEY, found);
}

function isNotices(bytes: Uint8Array): boolean {
  try {
    const value = JSON.parse(Buffer.from(bytes).toString("utf8")) as { notices?: unknown } | null;
    return Array.isArray(value?.notices);
  } catch {
    return false;
  }
}
