import assert from "node:assert/strict";
import { test } from "node:test";
import { hideToken, redactText } from "./redact.ts";

test("a token of a URL's path is hidden as it stands and as it is meant, and one that is no escape harms nothing", () => {
  hideToken(new URL("https://h.example/t/ab%2Fcdefgh/channel"));
  assert.equal(redactText("it said ab/cdefgh and ab%2Fcdefgh"), "it said … and …");
  hideToken(new URL("https://h.example/t/%zzsecret1/channel"));
  assert.equal(redactText("it said %zzsecret1"), "it said …");
});
