import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildConda } from "../test/packages/builder.ts";
import { largeIndex } from "./large-index.ts";
import { cache, ours, serve, span, type Timed } from "./support.ts";

/**
 * What `run_exports.json` of a channel without shards costs who follows it: 500,000 records over local HTTP, 100 packages added,
 * with that file at the channel and without it, in turns. RUN_EXPORTS=both: the target has one as well, as a whole mirror has.
 */
const RECORDS = Number(process.env["RECORDS"] ?? 500_000);
const RUNS = Number(process.env["RUNS"] ?? 3);
const both = process.env["RUN_EXPORTS"] === "both";
const subdir = "linux-64";
const made = join(cache, `large-${RECORDS}`);
const raw = largeIndex(made, subdir, RECORDS);
const here = join(cache, `run-exports-${process.pid}`);
const [upstream, target] = [join(here, "upstream"), join(here, "target")];

function node(script: string, ...args: string[]): void {
  const run = spawnSync(process.execPath, ["--no-warnings", join(import.meta.dirname, "clients", script), ...args], {
    encoding: "utf8",
  });
  if (run.status !== 0) throw new Error(run.stderr);
}

let round = 0;
/** The channel gets 100 packages that nobody has yet. */
function add(packages: number): void {
  const file = join(here, "change.json");
  const fresh = Array.from({ length: packages }, (_, i) => {
    const name = `fresh-${round}-${i}`;
    const p = buildConda({ name, subdir, build: "h0_0", files: { f: `${round} ${i}` } });
    writeFileSync(join(upstream, subdir, p.fileName), p.bytes);
    const facts = { md5: p.md5, sha256: p.sha256, size: p.bytes.length };
    return [p.fileName, { build: "h0_0", build_number: 0, depends: [], name, subdir, version: "1.0", ...facts }];
  });
  round++;
  writeFileSync(file, JSON.stringify({ add: fresh, remove: [] }));
  node("publish.ts", upstream, subdir, file);
  rmSync(join(upstream, subdir, "repodata_shards.msgpack.zst"));
}

async function mirrored(url: string): Promise<Timed> {
  const run = await ours(["mirror", url, "--src-type", "channel", "--tgt", target, "--subdir", subdir, "-q"]);
  if (run.code !== 0) throw new Error(`mirror ended with ${run.code}`);
  return run;
}

mkdirSync(here, { recursive: true });
for (const channel of [upstream, target]) cpSync(join(made, subdir), join(channel, subdir), { recursive: true });
const said = join(here, "run_exports.json");
node("run-exports.ts", raw, said);
if (both) cpSync(said, join(target, subdir, "run_exports.json"));
add(0);
const server = await serve(upstream);
await mirrored(server.url);
const [without, having]: Timed[][] = [[], []];
for (let i = 0; i < RUNS; i++) {
  for (const [has, figures] of [
    [false, without],
    [true, having],
  ] as const) {
    add(100);
    for (const suffix of ["", ".zst"]) {
      const file = join(upstream, subdir, `run_exports.json${suffix}`);
      if (has) cpSync(`${said}${suffix}`, file);
      else rmSync(file, { force: true });
    }
    figures?.push(await mirrored(server.url));
  }
}
const same = await mirrored(server.url);
server.stop();
const size = (suffix: string) => (statSync(`${said}${suffix}`).size / 1e6).toFixed(0);
const told = (runs: readonly Timed[] = []) =>
  `${span(runs.map((r) => r.seconds))} s, peak ${span(
    runs.map((r) => r.peakMB ?? 0),
    0,
  )} MB`;
process.stdout.write(`run exports: ${RECORDS} records, run_exports.json of ${size("")} MB (.zst ${size(".zst")}) ${both ? "at both ends" : "upstream"}, ${RUNS} runs
  100 added, none upstream  ${told(without)}
  100 added, with them      ${told(having)}
  nothing changed           ${told([same])}
`);
rmSync(here, { recursive: true, force: true });
