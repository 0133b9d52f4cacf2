import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseNetrc } from "./netrc.ts";

test("machines are read on one line or several, with comments, macros, quotes and odd order", () => {
  const machines = parseNetrc(`# a comment: machine not.this login x
machine One.Example login ann password p#1
machine two.example
  password "with \\"quotes\\" and spaces"
  login bob account none
macdef init
machine hidden.example login eve password x

machine three.example login carol # the rest is a comment password no
default login anybody password everywhere
machine one.example login later password no`);
  assert.deepEqual(Object.fromEntries(machines), {
    "one.example": { kind: "basic", username: "ann", password: "p#1" },
    "two.example": { kind: "basic", username: "bob", password: 'with "quotes" and spaces' },
    "three.example": { kind: "basic", username: "carol", password: "" },
  });
});

test("any text is read to its end", () => {
  const word = fc.constantFrom(
    "machine",
    "login",
    "password",
    "default",
    "macdef",
    "account",
    '"',
    "\\",
    "#",
    "\n",
    "a.b",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(word).map((w) => w.join(" ")),
      ),
      (text) => {
        for (const [name, entry] of parseNetrc(text)) assert.ok(name !== "" && entry.kind === "basic");
      },
    ),
  );
});
