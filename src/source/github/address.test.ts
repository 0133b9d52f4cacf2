import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { textsOf } from "../../../test/support/arbitraries.ts";
import { githubAddress, webOf } from "./address.ts";
import { pullAddress } from "./pull-address.ts";

const API = "https://api.github.com";
const WEB = "https://github.com";
const GHE = "https://ghe.example.com/api/v3";
const at = (text: string) => githubAddress(text, WEB, API);

test("what is no address of the host is none, however much it looks like one", () => {
  for (const text of [
    "https://github.com.evil.example/o/r",
    "https://evil.example/github.com/o/r",
    "https://user:secret@github.com/o/r",
    "http://github.com/o/r",
    "https://github.com:8443/o/r",
    "https://gist.github.com/o/r",
    "https://github.com/o",
    "https://github.com/o/..",
    "https://github.com/o/r/pull/x",
    "https://github.com/o/r/blob/main/x",
    "https://github.com/%E0%A4%A/r",
    "o/r#x",
    "o/..",
    "-o/r",
    "o/r/../../s",
    "o",
    "",
  ])
    assert.equal(at(text), undefined, text);
});

test("Enterprise hosts are known by the API's address", () => {
  assert.equal(webOf(API), WEB);
  assert.equal(webOf(GHE), "https://ghe.example.com");
  assert.equal(webOf("https://api.octocorp.ghe.com"), "https://octocorp.ghe.com");
  const web = webOf(GHE);
  assert.deepEqual(githubAddress("https://ghe.example.com/o/r/actions/runs/7", web, GHE), {
    owner: "o",
    repo: "r",
    what: "run",
    number: "7",
  });
  assert.equal(githubAddress("https://github.com/o/r", web, GHE), undefined);
  assert.deepEqual(githubAddress(`${GHE}/repos/o/r/pulls/3`, web, GHE), {
    owner: "o",
    repo: "r",
    what: "pull",
    number: "3",
  });
});

test("names of branches and tags may hold slashes and escapes", () => {
  assert.deepEqual(at("https://github.com/o/r/tree/feature/a%20b"), {
    owner: "o",
    repo: "r",
    what: "branch",
    branch: "feature/a b",
  });
  assert.deepEqual(at("https://github.com/o/r/releases/tag/v1%2B2"), {
    owner: "o",
    repo: "r",
    what: "release",
    tag: "v1+2",
  });
  assert.deepEqual(at("https://github.com/o/r/releases/download/a/b/x.zip"), {
    owner: "o",
    repo: "r",
    what: "release",
    tag: "a/b",
    asset: "x.zip",
  });
});

const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9-]{0,12}$/);
const number = fc.integer({ min: 1, max: 2 ** 40 }).map(String);

test("any text is read or refused, and what is read can lead nowhere else", () => {
  const text = textsOf([
    "https://github.com/",
    "/",
    "..",
    "#",
    "@",
    "%2f",
    "pull",
    "actions/runs",
    "o",
    "r",
    "7",
    "?",
    "\\",
    "\u202e",
    ".git",
  ]);
  fc.assert(
    fc.property(text, (given) => {
      const found = at(given);
      pullAddress(given, API);
      if (!found) return;
      const path = `/repos/${encodeURIComponent(found.owner)}/${encodeURIComponent(found.repo)}`;
      assert.equal(new URL(`${API}${path}/x`).pathname, `${path}/x`);
    }),
    { numRuns: 3000 },
  );
});

test("what is written in one form is read in all", () => {
  fc.assert(
    fc.property(name, name, number, (owner, repo, n) => {
      const in_ = { owner, repo };
      const run = { ...in_, what: "run", number: n };
      assert.deepEqual(at(`${owner}/${repo}@${n}`), run);
      assert.deepEqual(at(`${WEB}/${owner}/${repo}/actions/runs/${n}`), run);
      assert.deepEqual(at(`${API}/repos/${owner}/${repo}/actions/runs/${n}/artifacts`), run);
      const pull = { ...in_, number: n };
      for (const form of [
        `${owner}/${repo}/pull/${n}`,
        `${WEB}/${owner}/${repo}/pull/${n}/checks?x=1`,
        `${owner}/${repo}#${n}`,
      ])
        assert.deepEqual(pullAddress(form, API), pull);
    }),
  );
});
