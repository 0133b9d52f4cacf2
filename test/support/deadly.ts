import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { basename } from "node:path";
import { isMainThread } from "node:worker_threads";

/**
 * To be imported before a program (`node --import …/deadly.ts`): a worker thread that opens a file whose name holds "deadly"
 * ends at once, as one does that runs out of memory. Each time is noted in the file that DEADLY names.
 */
const log = process.env["DEADLY"];
if (log !== undefined && !isMainThread) {
  const { openSync } = fs;
  fs.openSync = ((path: string, ...rest: [string]) => {
    const name = basename(String(path));
    if (name.startsWith("deadly")) {
      fs.appendFileSync(log, `${name}\n`);
      process.exit(7);
    }
    return openSync(path, ...rest);
  }) as typeof openSync;
  syncBuiltinESMExports();
}
