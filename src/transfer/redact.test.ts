import assert from "node:assert/strict";
import { test } from "node:test";
import { hideToken, redactText, redactUrl } from "./redact.ts";

test("a token of a URL's path is hidden as it stands and as it is meant, and one that is no escape harms nothing", () => {
  hideToken(new URL("https://h.example/t/ab%2Fcdefgh/channel"));
  assert.equal(redactText("it said ab/cdefgh and ab%2Fcdefgh"), "it said … and …");
  hideToken(new URL("https://h.example/t/%zzsecret1/channel"));
  assert.equal(redactText("it said %zzsecret1"), "it said …");
});

test("what begins like a URL and is none is shown without what could be a secret", () => {
  const shown = {
    // A password with a slash in it: the host's name ends there.
    "https://user:s3/cret@h.example/linux-64/a-1-0.conda": "https://h.example/linux-64/a-1-0.conda",
    "https://user:s3@cret@h.example:70000/x?sig=s3cret#s3cret": "https://h.example:70000/x?…",
    "https://[bad/t/s3cret/x": "https://[bad/t/…/x",
    "oci://user:s3/cret@h.example/x": "oci://h.example/x",
  };
  for (const [url, redacted] of Object.entries(shown)) assert.equal(redactUrl(url), redacted);
});
