import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JsonBytesError } from "../conda/json-bytes.ts";
import { pathFacts } from "./path-facts.ts";

type Path = Record<string, unknown>;
const facts = (paths: Path[], space?: number) =>
  [...pathFacts(Buffer.from(JSON.stringify({ paths_version: 1, paths }, null, space)))].sort();

test("each fact is read from the paths it stands for, and from no others", () => {
  for (const [path, expected] of [
    [{ _path: "bin/x", prefix_placeholder: "/p", file_mode: "binary" }, "binary_prefix"],
    [{ _path: "bin/x", file_mode: "text", prefix_placeholder: "/p" }, "text_prefix"],
    [{ _path: "etc/conda/activate.d/x.sh" }, "activate.d"],
    [{ _path: "etc/conda/deactivate.d/x.sh" }, "deactivate.d"],
    [{ _path: "bin/.x-pre-link.sh" }, "pre_link"],
    [{ _path: "Scripts/.x-post-link.bat" }, "post_link"],
    [{ _path: "bin/.x-pre-unlink.sh" }, "pre_unlink"],
    [{ _path: "bin/x", prefix_placeholder: "", file_mode: "text" }, ""],
    [{ _path: "bin/x", prefix_placeholder: "/p", file_mode: null }, ""],
    [{ _path: "bin/x", prefix_placeholder: null, file_mode: "text" }, ""],
    [{ _path: "bin/x", file_mode: "text" }, ""],
    [{ _path: "share/etc/conda/activate.d/x" }, ""],
    [{ _path: "bin/x-pre-link.sh" }, ""],
    [{ _path: ".x-pre-link.sh" }, ""],
    [{ _path: "bin/.x-pre-link" }, ""],
    [{ _path: "bin/.x-post-unlink.sh" }, ""],
    [{ _path: 3, prefix_placeholder: {}, other: "activate.d" }, ""],
  ] as const)
    for (const space of [undefined, 2])
      assert.equal(facts([{ _path: "a" }, path], space).join(), expected, JSON.stringify(path));
});

test("a path written with escapes is seen", () => {
  const text = String.raw`{"paths":[{"_path":"etc\/conda\/\u0061ctivate.d/x"}]}`;
  assert.deepEqual([...pathFacts(Buffer.from(text))], ["activate.d"]);
});

test("what is no list of objects is refused with our error, once something in it could matter", () => {
  for (const text of [
    "activate.d",
    '{"paths":{"activate.d":1}}',
    '{"paths":["activate.d"]}',
    '{"paths":[{"a":"activate.d"}',
  ])
    assert.throws(() => pathFacts(Buffer.from(text)), JsonBytesError, text);
  assert.equal(pathFacts(Buffer.from("no JSON at all")).size, 0);
});

test("property: the facts are those of a plain reading", () => {
  const path = fc.record(
    {
      _path: fc.oneof(
        fc.constantFrom(
          "etc/conda/activate.d/a",
          "etc/conda/deactivate.d",
          "bin/.a-pre-link.sh",
          "x/.b-post-link.b-pre-unlink.c",
        ),
        fc.string(),
      ),
      prefix_placeholder: fc.constantFrom("", "/opt", "é\\"),
      file_mode: fc.constantFrom("text", "binary", "other"),
    },
    { requiredKeys: ["_path"], noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(path, { maxLength: 6 }), fc.constantFrom(undefined, 1), (paths, space) => {
      const plain = new Set<string>();
      for (const p of paths) {
        if (p.prefix_placeholder && p.file_mode === "binary") plain.add("binary_prefix");
        if (p.prefix_placeholder && p.file_mode === "text") plain.add("text_prefix");
        for (const d of ["activate.d", "deactivate.d"]) if (p._path.startsWith(`etc/conda/${d}`)) plain.add(d);
        for (const s of ["pre-link", "post-link", "pre-unlink"])
          if (new RegExp(`^[^]*/\\.[^]*-${s}\\.[^]*$`).test(p._path)) plain.add(s.replace("-", "_"));
      }
      assert.deepEqual(facts(paths, space), [...plain].sort());
    }),
  );
});
