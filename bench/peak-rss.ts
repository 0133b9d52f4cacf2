// Loaded before our command line by --import: tells its peak memory when it ends.
process.on("exit", () => process.stderr.write(`peak-rss-kib ${process.resourceUsage().maxRSS}\n`));
