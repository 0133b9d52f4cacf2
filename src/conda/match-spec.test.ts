import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MatchSpecError, parseMatchSpec } from "./match-spec.ts";
import { loadVersions } from "./version.ts";

const versions = await loadVersions();
const sha256 = "ab".repeat(32);
const record = {
  name: "openssl",
  version: "1.1.1w",
  build: "hd590300_0",
  build_number: 3,
  subdir: "linux-64",
  sha256,
  md5: "cd".repeat(16),
  license: "OpenSSL",
  track_features: "nomkl blas",
};
const where = {
  fileName: "openssl-1.1.1w-hd590300_0.conda",
  url: "https://conda.anaconda.org/conda-forge/linux-64/openssl-1.1.1w-hd590300_0.conda",
  channel: "https://conda.anaconda.org/conda-forge",
};
const matches = (spec: string) => parseMatchSpec(spec, versions).matches(record, where);

test("every form of spec that names the package matches it", () => {
  for (const spec of [
    "openssl",
    "OpenSSL",
    "open*",
    "^open.*$",
    "*",
    "openssl 1.1.1w",
    "openssl=1.1.1",
    "openssl =1.1",
    "openssl==1.1.1w",
    "openssl >=1.1,<1.2",
    "openssl >= 1.1 , < 1.2",
    "openssl>=1.1|<1",
    "openssl 1.1.*",
    "openssl==1.1.*",
    "openssl=1.1.1w=hd590300_0",
    "openssl 1.1.1w hd59*",
    "openssl * *_0",
    "openssl (>=1,<2) hd590300_0",
    "openssl[version=1.1.1w]",
    "openssl[version='>=1.1,<1.2', build=\"*_0\"]",
    'openssl[build_number=">=3"]',
    "openssl[build_number=3]",
    `openssl[sha256=${sha256.toUpperCase()}]`,
    "*[md5=cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd]",
    "*[license=OpenSSL]",
    "*[subdir=linux-64]",
    "*[fn='openssl-*.conda']",
    "*[track_features='blas nomkl']",
    "conda-forge::openssl",
    "conda-forge/linux-64::openssl=1.1.1",
    "https://conda.anaconda.org/conda-forge::openssl",
    "https://conda.anaconda.org/conda-forge/linux-64::openssl >=1",
    "conda-forge:ns:openssl",
    "*[channel=conda-forge]",
    "openssl[extras=[a,b],when='python >3']",
    "openssl >=1 # a comment",
    where.url,
    `${where.url}[sha256=${sha256}]`,
    "openssl <1[version='>=1']",
    "openssl[name=other, version='*']",
  ])
    assert.ok(matches(spec), spec);
});

test("every form of spec that means another package does not match it", () => {
  for (const spec of [
    "ssl",
    "openssl 1.1",
    "openssl==1.1",
    "openssl=1.1=hd590300_0",
    "openssl=1.1.1w=0",
    "openssl <1",
    "openssl[version=1.1]",
    "openssl[build_number='>3']",
    "*[md5=00000000000000000000000000000000]",
    "*[license=openssl]",
    "*[license='Open*']",
    "*[subdir=osx-64]",
    "*[fn='*.tar.bz2']",
    "*[track_features=mkl]",
    "bioconda::openssl",
    "conda-forge/osx-64::openssl",
    "conda-forge::zlib",
    where.url.replace("hd590300_0", "hd590300_1"),
    "zlib[name=openssl]",
    `${where.url}[sha256=${"0".repeat(64)}]`,
  ])
    assert.ok(!matches(spec), spec);
});

test("what is not known of a package is not compared, so a bare record matches as it does for rattler", () => {
  for (const spec of ["*[fn='*mkl*']", "bioconda::openssl", "*[url='https://x/y.conda']"])
    assert.ok(parseMatchSpec(spec, versions).matches(record), spec);
});

test("a spec tells the one name it asks for, and none where it is a pattern", () => {
  assert.equal(parseMatchSpec("conda-forge::OpenSSL >=1", versions).name, "openssl");
  assert.equal(parseMatchSpec("open*", versions).name, undefined);
  assert.equal(parseMatchSpec("^open.*$ 1", versions).name, undefined);
});

test("what can't be read is refused with the spec in the message", () => {
  for (const spec of [
    "",
    "  ",
    ">=1",
    "::",
    "a b c d",
    "a[",
    "a]",
    'a[license=~"x"]',
    "a[nokey=1]",
    "a[version]",
    "a[version='1]",
    "a[md5=12]",
    "a[build_number=x]",
    "a[version=1][build=2]",
    "a 1..2",
    "^(a$",
    "a ^(x$",
    "a; if b",
    "ünï",
    "https://example.org/x.txt",
    "x".repeat(5000),
  ])
    assert.throws(() => parseMatchSpec(spec, versions), MatchSpecError, spec);
});

test("records with nulls and wrong types match nothing that asks about those fields, and crash nothing", () => {
  const hostile = { name: null, version: 1, build: {}, build_number: "1", md5: [], track_features: 3, license: null };
  for (const spec of ["*", "*[version=1]", "* * x", "*[build_number=1]", "*[track_features=a]", "*[license=x]"])
    assert.equal(parseMatchSpec(spec, versions).matches(hostile), false, spec);
});

test("property: no text hangs or throws anything but our error", () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[a-c0-9=<>!~,|()[\]*^$.:;#'" /-]{0,60}$/));
  fc.assert(
    fc.property(text, (spec) => {
      try {
        matches(spec);
      } catch (e) {
        assert.ok(e instanceof MatchSpecError, String(e));
      }
    }),
    { numRuns: 3000 },
  );
  const began = performance.now();
  for (const hostile of [
    `a ${" ".repeat(4000)}x=`,
    `a ${"(".repeat(4000)}`,
    `a[${"b=c ".repeat(1000)}`,
    `a ${"1,".repeat(2000)}`,
  ]) {
    try {
      matches(hostile);
    } catch (e) {
      assert.ok(e instanceof MatchSpecError, String(e));
    }
  }
  assert.ok(performance.now() - began < 2000);
});
