import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { basename } from "node:path";

/**
 * To be imported before a program (`node --import …/failing-disk.ts`): files whose names begin with "bad" can't be read, in any
 * thread, as on a disk that fails: "bad0-…" not even opened, "bad1-…" read once, "bad2-…" twice.
 */
const failure = (path: string) =>
  Object.assign(new Error(`EIO: i/o error, read '${path}'`), { code: "EIO", syscall: "read" });
const { openSync, readSync } = fs;
const left = new Map<number, number>();
fs.openSync = ((path: string, ...rest: [string]) => {
  const [, reads] = /^bad(\d)-/.exec(basename(String(path))) ?? [];
  if (reads === "0") throw failure(path);
  const fd = openSync(path, ...rest);
  left.delete(fd);
  if (reads !== undefined) left.set(fd, Number(reads));
  return fd;
}) as typeof openSync;
fs.readSync = ((fd: number, ...rest: [Uint8Array]) => {
  const reads = left.get(fd);
  if (reads === 0) throw failure(String(fd));
  if (reads !== undefined) left.set(fd, reads - 1);
  return readSync(fd, ...rest);
}) as typeof readSync;
syncBuiltinESMExports();
