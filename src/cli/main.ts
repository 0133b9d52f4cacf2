#!/usr/bin/env node
import { enableCompileCache } from "node:module";
import { setFlagsFromString } from "node:v8";

// The bin: everything heavier than the flags is loaded when its command runs, so that --help answers at once.
enableCompileCache();
// What is new on V8's heap is to stay in few megabytes: its room grows to 130 MB in any run that lasts, whatever lives in it
// (docs/decisions/034).
setFlagsFromString("--semi-space-growth-factor=1");
const { run } = await import("./run.ts");
process.exitCode = await run(process.argv.slice(2));
