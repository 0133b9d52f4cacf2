import { globSync } from "node:fs";
import { basename } from "node:path";

/** `npm run bench -- NAME…`: runs the benchmarks named, or says which there are. */
const here = new URL(".", import.meta.url).pathname;
const names = globSync("*.bench.ts", { cwd: here })
  .map((f) => basename(f, ".bench.ts"))
  .sort();
const wanted = process.argv.slice(2);
if (wanted.length === 0 || wanted.some((w) => !names.includes(w))) {
  process.stdout.write(`benchmarks: ${names.join(", ")}\nrun one with: npm run bench -- ${names[0]}\n`);
  process.exitCode = wanted.length === 0 ? 0 : 2;
} else {
  for (const name of wanted) await import(`./${name}.bench.ts`);
}
