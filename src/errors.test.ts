import assert from "node:assert/strict";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { temporary } from "../test/support/folders.ts";
import { asMirrorError, framesOf, TransferError } from "./errors.ts";

function thrownBy(work: () => void): unknown {
  try {
    work();
  } catch (e) {
    return e;
  }
  throw new Error("nothing was thrown");
}

test("what SQLite says of a full disk or of a file that may not be written is told as that", () => {
  const path = join(temporary(), "lock");
  const db = new DatabaseSync(path);
  db.exec("CREATE TABLE t (x); PRAGMA max_page_count = 2");
  const full = asMirrorError(
    thrownBy(() => db.exec("INSERT INTO t VALUES (zeroblob(100000))")),
    path,
  );
  assert.deepEqual([full.code, full.what, full.exitCode], ["FULL", path, 3]);
  db.close();
  chmodSync(path, 0o444);
  const reading = new DatabaseSync(path, { readOnly: true });
  const barred = asMirrorError(
    thrownBy(() => reading.exec("DELETE FROM t")),
    path,
  );
  assert.deepEqual([barred.code, barred.exitCode], ["UNWRITABLE", 3]);
  reading.close();
  const nowhere = asMirrorError(
    thrownBy(() => new DatabaseSync(join(path, "x"))),
    path,
  );
  assert.deepEqual([nowhere.code, nowhere.exitCode], ["UNWRITABLE", 3]);
});

test("the frames of an error that wraps another show where both came from, and no words of the other", () => {
  const failsDeepInside = () => (undefined as unknown as { secret: string }).secret;
  const wrapped = asMirrorError(
    thrownBy(() => failsDeepInside()),
    "it",
  );
  const [, causes = ""] = (framesOf(wrapped) ?? "").split("  caused by TypeError\n");
  assert.match(causes, /^\s+at failsDeepInside /);
  const cause = new Error("token abc123 was refused");
  const why = { what: "a", why: "b", next: "c", cause };
  const frames = framesOf(new TransferError("UNREACHABLE", why, { mayPass: true })) ?? "";
  assert.match(frames, /caused by Error\n\s+at /);
  assert.doesNotMatch(frames, /abc123/);
});
