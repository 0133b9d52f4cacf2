import { readFileSync } from "node:fs";

// The milliseconds that fifty rules take for all records of an index, from its bytes: choose.ts REPODATA
const room = (path: string) => import(new URL(`../../dist/${path}.js`, import.meta.url).href);
const { readRepodata } = (await room("index/repodata")) as typeof import("../../src/index/repodata.ts");
const { readRules } = (await room("choose/rules")) as typeof import("../../src/choose/rules.ts");
const { chooseRecords } = (await room("choose/choose-index")) as typeof import("../../src/choose/choose-index.ts");

const words = ["python", "numpy", "gdal", "boost", "qt", "torch", "json", "xml", "aws", "rust"];
const options = {
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
};
const bytes = readFileSync(process.argv[2] as string);
const rules = await readRules(options, Date.parse("2030-01-01"));
const began = performance.now();
const { count } = chooseRecords(readRepodata(bytes), { channel: "large", subdir: "linux-64" }, rules);
process.stdout.write(JSON.stringify({ milliseconds: performance.now() - began, chosen: count }));
