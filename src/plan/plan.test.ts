import assert from "node:assert/strict";
import { test } from "node:test";
import { makePlan, type Offer, type OnConflict, type Present, settle } from "./plan.ts";

const sha = (c: string) => c.repeat(64);
const offer = (more: Partial<Offer> = {}): Offer => ({ fileName: "a-1-0.conda", origin: "o", key: "k", ...more });
const present = (more: Partial<Present> = {}): Present => ({
  subdir: "noarch",
  fileName: "a-1-0.conda",
  recorded: { sha256: sha("a"), size: 5 },
  fileSize: 5,
  ...more,
});
const plan = (o: Offer, p: Present[], rule: OnConflict = "error") =>
  makePlan([o], new Map([["a-1-0.conda", p]]), rule).map((s) => s.do);

test("what is not there is added, what is there with the same hash is kept", () => {
  assert.deepEqual(plan(offer(), []), ["add"]);
  assert.deepEqual(plan(offer({ sha256: sha("a") }), [present()]), ["keep"]);
  assert.deepEqual(plan(offer({ sha256: sha("a"), subdir: "linux-64" }), [present()]), ["add"]);
});

test("a file that is missing or has another size than its record is brought again", () => {
  assert.deepEqual(plan(offer({ sha256: sha("a") }), [present({ fileSize: undefined })]), ["add"]);
  assert.deepEqual(plan(offer({ sha256: sha("a") }), [present({ fileSize: 4 })]), ["add"]);
  assert.deepEqual(plan(offer({ sha256: sha("a") }), [present({ recorded: undefined })]), ["add"]);
});

test("where only the bytes can tell, they are compared", () => {
  assert.deepEqual(plan(offer(), [present()]), ["compare"]);
  assert.deepEqual(plan(offer({ sha256: sha("b") }), [present()]), ["compare"], "its subdir is not known yet");
});

test("other bytes in the same subdir follow the rule", () => {
  const other = offer({ sha256: sha("b"), subdir: "noarch" });
  assert.deepEqual(
    [plan(other, [present()]), plan(other, [present()], "skip"), plan(other, [present()], "replace")],
    [["refuse"], ["skip"], ["replace"]],
  );
});

test("the same package from two sources is taken once", () => {
  const steps = makePlan(
    [offer(), offer(), offer({ key: "k2", sha256: sha("a") }), offer({ key: "k3", sha256: sha("a") })],
    new Map(),
    "error",
  );
  assert.deepEqual(
    steps.map((s) => s.offer.key),
    ["k", "k2"],
  );
});

test("arrived bytes are settled against what is there", () => {
  const arrived = { fileName: "a-1-0.conda", subdir: "noarch", sha256: sha("a"), md5: "", size: 5 };
  assert.equal(settle(arrived, undefined, "error", "o"), "add");
  assert.equal(settle(arrived, present(), "error", "o"), "keep");
  assert.equal(settle(arrived, present({ fileSize: 3 }), "error", "o"), "replace");
  assert.equal(settle({ ...arrived, sha256: sha("b") }, present(), "skip", "o"), "skip");
  assert.throws(() => settle({ ...arrived, sha256: sha("b") }, present(), "error", "o"), { code: "CONFLICT" });
});
