import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { loadVersions } from "../conda/version.ts";
import { bestFirst, type Choosable, choosable } from "./choosable.ts";
import { Installer } from "./installer.ts";
import { readNeed, whyHolds } from "./need.ts";

const versions = await loadVersions();
const NAMES = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

const name = fc.constantFrom(...NAMES);
const spec = fc
  .tuple(name, fc.constantFrom("==", "!=", "!=", "<", ">"), fc.integer({ min: 1, max: 4 }))
  .map(([n, operator, v]) => `${n} ${operator}${v}`);
const condition = fc.oneof(
  spec,
  fc.tuple(spec, fc.constantFrom("and", "or"), spec).map(([a, o, b]) => `${a} ${o} ${b}`),
);
const dependency = fc.oneof(
  { weight: 4, arbitrary: spec },
  { weight: 1, arbitrary: fc.tuple(name, condition).map(([n, when]) => `${n}[when="${when}"]`) },
);
const graph = fc.uniqueArray(
  fc.record({
    name,
    version: fc.integer({ min: 1, max: 4 }),
    depends: fc.array(dependency, { maxLength: 3 }),
    constrains: fc.array(spec, { maxLength: 1 }),
  }),
  { minLength: 15, maxLength: 40, size: "max", selector: (r) => `${r.name} ${r.version}` },
);

/** Tries every choice. */
function canBe(candidates: (name: string) => readonly Choosable[], chosen: ReadonlyMap<string, Choosable>): boolean {
  const needs = [...chosen.values()].map((c) => ({
    depends: c.depends.map((d) => readNeed(d, versions)),
    constrains: c.constrains.map((d) => readNeed(d, versions)),
  }));
  // What holds now holds with more packages too.
  const depends = needs.flatMap((n) => n.depends).filter(({ when }) => !when || whyHolds(when, chosen));
  for (const need of [...depends, ...needs.flatMap((n) => n.constrains)]) {
    const there = chosen.get(need.name);
    if (there && !need.matches(there.fields)) return false;
  }
  const open = depends.find((need) => !chosen.has(need.name));
  if (!open) return true;
  return candidates(open.name).some((c) => canBe(candidates, new Map([...chosen, [c.name, c]])));
}

function recordsOf(drawn: readonly { name: string; version: number; depends: string[]; constrains: string[] }[]) {
  return drawn.map((r): Choosable => {
    const record = { ...r, version: String(r.version), build: "0", build_number: 0 };
    return choosable("noarch", `${r.name}-${r.version}-0.conda`, Buffer.from(JSON.stringify(record))) as Choosable;
  });
}

function candidatesOf(records: readonly Choosable[]): (name: string) => readonly Choosable[] {
  const known = Map.groupBy(records, (r) => r.name);
  for (const list of known.values()) list.sort(bestFirst(versions));
  return (n) => known.get(n) ?? [];
}

test("an installation is found where trying everything finds one, and not elsewhere, however far back the cause lies", () => {
  const counts = { found: 0, none: 0 };
  fc.assert(
    fc.property(graph, (drawn) => {
      const records = recordsOf(drawn);
      const candidates = candidatesOf(records);
      const installer = new Installer(versions, candidates);
      for (const root of records) {
        const found = installer.solve(root, [[]]);
        assert.notEqual(found, "unknown");
        const possible = canBe(candidates, new Map([[root.name, root]]));
        assert.equal(Array.isArray(found), possible, `${root.name} ${root.fields["version"]}`);
        counts[possible ? "found" : "none"]++;
        if (Array.isArray(found)) assert.ok(canBe(() => [], new Map(found.map((c) => [c.name, c]))));
      }
    }),
    { numRuns: Number(process.env["GRAPHS"] ?? 300) },
  );
  assert.ok(counts.found > 100 && counts.none > 100, JSON.stringify(counts));
});

test("an installation of more packages than calls fit into the stack is found", () => {
  const length = 12_000;
  const chain = recordsOf(
    Array.from({ length }, (_, i) => ({
      name: `p${i}`,
      version: 1,
      depends: i + 1 < length ? [`p${i + 1}`] : [],
      constrains: [],
    })),
  );
  const found = new Installer(versions, candidatesOf(chain)).solve(chain[0] as Choosable, [[]]);
  assert.equal(found.length, length);
});
