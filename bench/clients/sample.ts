import { readFileSync } from "node:fs";
import { eachRecord, readRepodata } from "../../src/index/repodata.ts";

// Some records of an index, spread over it: sample.ts REPODATA COUNT. A process of its own, since what one holds counts
// towards the peak memory of those it starts.
const [path, count] = process.argv.slice(2) as [string, string];
const index = readRepodata(readFileSync(path));
const all = [...eachRecord(index)];
const some = all.filter((_, i) => i % Math.floor(all.length / Number(count)) === 0).slice(0, Number(count));
process.stdout.write(JSON.stringify(some.map((r) => [r.fileName, JSON.parse(Buffer.from(r.record).toString())])));
