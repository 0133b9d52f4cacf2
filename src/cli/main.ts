#!/usr/bin/env node
import { enableCompileCache } from "node:module";

// The bin: everything heavier than the flags is loaded when its command runs, so that --help answers at once.
enableCompileCache();
const { letGo } = await import("./closed-pipes.ts");
letGo(process.stdout);
const { run } = await import("./run.ts");
process.exitCode = await run(process.argv.slice(2));
