import assert from "node:assert/strict";
import { test } from "node:test";
import type { UsageError } from "../errors.ts";
import { parseOciAddress } from "./address.ts";

test("an address that can't be read is refused without the password that is in it", () => {
  assert.deepEqual(parseOciAddress("oci://us%40er:p%2Fw@h.example/ch").user, { username: "us@er", password: "p/w" });
  for (const address of ["oci://user:s3/cret@h.example/ch", "oci://user:%zzs3cret@h.example/ch", "oci://u:s3cret@h/C"])
    assert.throws(
      () => parseOciAddress(address),
      (e: UsageError) => e.code === "BAD_TARGET" && !/s3|cret/.test(e.message),
      address,
    );
});
