import fs from "node:fs";
import promises, { type FileHandle } from "node:fs/promises";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { relative, resolve } from "node:path";
import { getEnvironmentData, isMainThread, setEnvironmentData } from "node:worker_threads";

/**
 * To be imported before a program (`node --import …/faults.ts`): the n-th thing that it does to the files below a folder goes
 * wrong, in whichever thread that happens. The plan stands in FAULT, as JSON.
 */
export interface FaultPlan {
  /** What is done to files below this folder counts. */
  readonly folder: string;
  /** Which operation; 0 for none. */
  readonly at: number;
  /**
   * "kill": the process dies before it, as by SIGKILL, and only changes count, since a reading leaves everything as it was;
   * "error": it fails; "cut": a writing writes half and fails, all else fails; "full": from it on every writing fails, as on a
   * disk without space.
   */
  readonly how: "kill" | "error" | "cut" | "full";
  /** Every operation is noted here, a line each. */
  readonly log: string;
}

type Call = (...args: never[]) => unknown;
type Calls = Record<string, Call>;

const given = process.env["FAULT"];
if (given !== undefined) install(JSON.parse(given) as FaultPlan);

function install(plan: FaultPlan): void {
  const root = resolve(plan.folder);
  const key = "operations so far";
  if (isMainThread) setEnvironmentData(key, new SharedArrayBuffer(4) as never);
  const counter = new Int32Array(getEnvironmentData(key) as unknown as SharedArrayBuffer);
  const { appendFileSync, writeSync } = fs;
  const changesOnly = plan.how === "kill";

  /** Notes an operation. True when it is the one that goes wrong. */
  const isTheOne = (what: string): boolean => {
    const n = Atomics.add(counter, 0, 1) + 1;
    appendFileSync(plan.log, `${what}\n`);
    if (plan.how === "full") return plan.at > 0 && n >= plan.at && /^(?:write|copyFile) /.test(what);
    return n === plan.at;
  };
  /** True when it is to fail, if the process still lives. */
  const turn = (what: string): boolean => {
    if (!isTheOne(what)) return false;
    if (plan.how === "kill") process.kill(process.pid, "SIGKILL");
    return true;
  };
  /** What a writing that goes wrong leaves. Others may go on beside it: half is written only once it is known to be the one. */
  const failWriting = (what: string): never => {
    if (plan.how === "kill") process.kill(process.pid, "SIGKILL");
    throw failure(what);
  };
  const failure = (what: string): Error => {
    const code = plan.how === "cut" || plan.how === "full" ? "ENOSPC" : "EIO";
    return Object.assign(new Error(`${code}: made to fail, ${what}`), { code, syscall: what.split(" ")[0] });
  };
  const inside = (path: unknown): string | undefined => {
    if (typeof path !== "string") return undefined;
    const name = relative(root, resolve(path)).replaceAll("\\", "/");
    if (name.startsWith("..")) return undefined;
    return name.replace(/[0-9a-f]{64}/, "HASH").replace(/(\.[0-9a-f]{12}\.tmp|incoming\/.+)$/, "TEMPORARY");
  };
  const wrap = (
    holder: unknown,
    name: string,
    named: (self: unknown, args: unknown[]) => string | undefined,
    later: boolean,
    then: (result: unknown, args: unknown[]) => void = () => undefined,
  ): void => {
    const calls = holder as Calls;
    const call = calls[name] as Call;
    calls[name] = function (this: unknown, ...args: never[]) {
      const place = named(this, args);
      const what = `${name.replace(/Sync$/, "")} ${place}`;
      if (place !== undefined && turn(what)) {
        if (later) return Promise.reject(failure(what));
        throw failure(what);
      }
      const result = call.apply(this, args);
      if (result instanceof Promise) void result.then((r) => then(r, args)).catch(() => undefined);
      else then(result, args);
      return result;
    };
  };
  const ofPath = (_: unknown, args: unknown[]) => inside(args[0]);
  const ofEither = (_: unknown, args: unknown[]) => inside(typeof args[1] === "string" ? args[1] : args[0]);
  const CHANGES = ["rename", "link", "copyFile", "unlink", "rm", "rmdir", "mkdir"];
  const LOOKS = changesOnly ? [] : ["stat", "readdir", "readFile", "opendir"];
  for (const name of CHANGES) {
    wrap(promises, name, ofEither, true);
    wrap(fs, `${name}Sync`, ofEither, false);
  }
  for (const name of LOOKS) {
    wrap(promises, name, ofPath, true);
    if (`${name}Sync` in fs) wrap(fs, `${name}Sync`, ofPath, false);
  }

  // Files that are open, by their descriptor or handle.
  const descriptors = new Map<number, string>();
  const handles = new WeakMap<object, string>();
  const opened = (_: unknown, args: unknown[]) =>
    changesOnly && (args[1] === undefined || args[1] === "r") ? undefined : inside(args[0]);
  wrap(promises, "open", opened, true, (handle, [path]) => {
    const name = inside(path);
    if (name !== undefined) handles.set(handle as object, name);
  });
  wrap(fs, "openSync", opened, false, (fd, [path]) => {
    const name = inside(path);
    if (name !== undefined) descriptors.set(fd as number, name);
  });
  const ofDescriptor = (_: unknown, args: unknown[]) => descriptors.get(args[0] as number);
  for (const name of changesOnly ? [] : ["readSync", "fsyncSync"]) wrap(fs, name, ofDescriptor, false);
  wrap(
    fs,
    "closeSync",
    () => undefined,
    false,
    (_, [fd]) => descriptors.delete(fd as number),
  );
  fs.writeSync = ((fd: number, bytes: Uint8Array, offset?: number, length?: number) => {
    const place = descriptors.get(fd);
    if (place === undefined) return writeSync(fd, bytes, offset, length);
    if (!isTheOne(`write ${place}`)) return writeSync(fd, bytes, offset, length);
    const from = offset ?? 0;
    if (plan.how !== "error") writeSync(fd, bytes, from, (length ?? bytes.length - from) >> 1);
    return failWriting(`write ${place}`);
  }) as typeof writeSync;

  void (async () => {
    const some = await promises.open(process.execPath, "r");
    const prototype = Object.getPrototypeOf(some) as FileHandle;
    await some.close();
    const ofHandle = (self: unknown) => handles.get(self as object);
    for (const name of changesOnly ? [] : ["read", "sync", "stat"]) wrap(prototype, name, ofHandle, true);
    const { write } = prototype as unknown as { write(b: Uint8Array, at?: number, n?: number): Promise<unknown> };
    (prototype as unknown as Calls)["write"] = async function (this: unknown, b: Uint8Array, at = 0, n?: number) {
      const place = handles.get(this as object);
      if (place === undefined) return write.call(this, b, at, n);
      if (!isTheOne(`write ${place}`)) return write.call(this, b, at, n);
      if (plan.how !== "error") await write.call(this, b, at, (n ?? b.length - at) >> 1);
      return failWriting(`write ${place}`);
    } as Call;
  })();

  const { DatabaseSync, StatementSync } = createRequire(import.meta.url)("node:sqlite") as typeof import("node:sqlite");
  wrap(DatabaseSync.prototype, "exec", (_, [sql]) => `database ${String(sql).trim().slice(0, 20)}`, false);
  wrap(StatementSync.prototype, "run", () => "database row", false);
  syncBuiltinESMExports();
}
