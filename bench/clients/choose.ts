import { readFileSync } from "node:fs";
import type { ChoiceOptions } from "../../src/choose/rules.ts";

// The milliseconds that fifty rules of a kind take for all records of an index, from its bytes: choose.ts REPODATA KIND
const room = (path: string) => import(new URL(`../../dist/${path}.js`, import.meta.url).href);
const { readRepodata } = (await room("index/repodata")) as typeof import("../../src/index/repodata.ts");
const { readRules } = (await room("choose/rules")) as typeof import("../../src/choose/rules.ts");
const { chooseRecords } = (await room("choose/choose-index")) as typeof import("../../src/choose/choose-index.ts");

const bytes = readFileSync(process.argv[2] as string);
const words = ["python", "numpy", "gdal", "boost", "qt", "torch", "json", "xml", "aws", "rust"];
const fifty = (spec: (word: string, i: number) => string) =>
  Array.from({ length: 50 }, (_, i) => spec(words[i % words.length] as string, i));
/** Names that the index has, from all over it. */
const nameAt = (share: number) => {
  const from = bytes.indexOf('"name":"', Math.floor(bytes.length * share)) + 8;
  return bytes.toString("utf8", from, bytes.indexOf('"', from));
};
const kinds: Readonly<Record<string, ChoiceOptions>> = {
  mixed: {
    include: [
      ...words.flatMap((w, i) => [`${w}-*`, `*-${w}* >=${i}.2`, `*${w}1* <${20 + i}`]),
      "*[license=MIT]",
      "*[build=py31*]",
    ],
    exclude: words.map((w, i) => `${w}-core* <${i + 1}.5`),
    minAge: "3d",
    since: "2015-01-01",
    maxSize: "80MB",
    latest: 5,
    blockLicenses: ["GPL*", "AGPL*"],
    blockDependencies: ["gtk-*", "icu-sdk*"],
  },
  names: { include: fifty((_, i) => `${nameAt(i / 51)} >=${i % 20}.2`) },
  globs: { include: fifty((w, i) => `*${w}${i % 10}*${i % 7} >=${i % 20}.2,<${(i % 20) + 9}`) },
  expressions: {
    include: fifty((w, i) => `^(lib)?${w}-[a-m]+.*[${i % 10}-9]$[build='^py3[89]h[0-9a-f]+_${i % 10}$']`),
  },
};
const rules = await readRules(kinds[process.argv[3] ?? "mixed"] ?? {}, Date.parse("2030-01-01"));
const began = performance.now();
const { count } = chooseRecords(readRepodata(bytes), { channel: "large", subdir: "linux-64" }, rules);
const milliseconds = performance.now() - began;
const peakMB = (process.resourceUsage().maxRSS * 1024) / 1e6;
process.stdout.write(JSON.stringify({ milliseconds, chosen: count, peakMB }));
