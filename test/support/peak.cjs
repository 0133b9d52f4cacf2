// Loaded before the command line by --require: tells at the end how much memory it had at most. What the system tells of a
// process otherwise counts what its parent had when it was forked.
const { readFileSync } = require("node:fs");
const { isMainThread } = require("node:worker_threads");

if (isMainThread) {
  process.on("exit", () => {
    let kib = process.resourceUsage().maxRSS;
    try {
      kib = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))[1];
    } catch {
      // Not Linux.
    }
    process.stderr.write(`peak-rss-kib ${kib}\n`);
  });
}
