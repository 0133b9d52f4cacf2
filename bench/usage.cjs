// Loaded before our command line by --require: tells at the end what the process used. Plain JavaScript, since stripping
// types from a file took 50 ms and 17 MB that were counted as ours, again in each thread.
const { isMainThread } = require("node:worker_threads");

if (isMainThread) {
  process.on("exit", () => {
    const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
    process.stderr.write(`peak-rss-kib ${maxRSS}\ncpu-us ${userCPUTime + systemCPUTime}\n`);
  });
}
