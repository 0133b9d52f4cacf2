import { readFileSync } from "node:fs";

// The milliseconds that JSON.parse alone needs for a file.
const text = readFileSync(process.argv[2] as string, "latin1");
const began = performance.now();
JSON.parse(text);
process.stdout.write(JSON.stringify({ milliseconds: performance.now() - began, written: [] }));
