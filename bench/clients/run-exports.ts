import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { zstdCompressSync } from "node:zlib";
import { eachRecord, readRepodata } from "../../src/index/repodata.ts";

// A run_exports.json for every record of an index: run-exports.ts REPODATA OUT. One package in four exports something, as in
// conda-forge, and it is indented as conda-index does. OUT.zst is written too.
const [path, out] = process.argv.slice(2) as [string, string];
const index = readRepodata(readFileSync(path));
const fd = openSync(out, "w");
writeSync(fd, '{"info":{"subdir":"linux-64","version":1}');
let i = 0;
for (const map of ["packages", "packages.conda"] as const) {
  let part: string[] = [];
  writeSync(fd, `,"${map}":{`);
  let first = true;
  const flush = () => {
    if (part.length > 0) writeSync(fd, `${first ? "" : ","}${part.join(",")}`);
    first &&= part.length === 0;
    part = [];
  };
  for (const { fileName, record } of eachRecord(index, [map])) {
    const { name, version } = JSON.parse(Buffer.from(record).toString()) as { name: string; version: string };
    const [major] = version.split(".");
    const exports =
      i++ % 4 === 0 ? { weak: [`${name} >=${version},<${Number(major) + 1}.0a0`, `${name}-abi ==${major}`] } : {};
    part.push(
      `\n    ${JSON.stringify(fileName)}: ${JSON.stringify({ run_exports: exports }, null, 2).replaceAll("\n", "\n    ")}`,
    );
    if (part.length === 1000) flush();
  }
  flush();
  writeSync(fd, "}");
}
writeSync(fd, "}");
closeSync(fd);
writeFileSync(`${out}.zst`, zstdCompressSync(readFileSync(out)));
process.stdout.write("{}");
