import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { mirror } from "../src/main.ts";
import { temporary } from "./support/folders.ts";
import { fixtures, needs } from "./support/needs.ts";

interface Case {
  readonly spec: string;
  readonly error?: string;
  readonly matches: number;
  readonly sha256: string;
}

test(
  "360 specs as --include take exactly the records of two real channels that py-rattler matches",
  needs(join(fixtures, "expected/matchspecs.json"), "the shared fixtures"),
  async () => {
    const expected = JSON.parse(readFileSync(join(fixtures, "expected/matchspecs.json"), "utf8")) as Record<
      string,
      Case[]
    >;
    const indexes = { "r_linux-64": "repodata/r_linux-64.json", pytorch: "channels/pytorch/linux-64/repodata.json" };
    let compared = 0;
    for (const [name, path] of Object.entries(indexes)) {
      const channel = temporary();
      mkdirSync(join(channel, "linux-64"));
      copyFileSync(join(fixtures, path), join(channel, "linux-64/repodata.json"));
      const target = temporary();
      for (const { spec, error, matches, sha256 } of expected[name] as Case[]) {
        compared++;
        const options = { sources: [channel], sourceType: "channel", target, env: {}, dryRun: true, include: [spec] };
        if (error !== undefined) {
          await assert.rejects(mirror(options), { family: "usage" }, spec);
          continue;
        }
        // rattler was asked about bare records, which have no file names: a rule that names files is meant.
        if (spec.includes("fn=")) continue;
        const { plan = [], failed } = await mirror(options);
        const found = plan.filter((step) => step.do === "add").map((step) => step.fileName);
        assert.deepEqual([found.length, failed, hash("sha256", found.sort().join("\n"))], [matches, 0, sha256], spec);
      }
    }
    assert.equal(compared, 360);
  },
);
