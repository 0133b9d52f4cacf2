import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { UsageError } from "../errors.ts";
import { type AddressingStyle, bucketUrl, parseS3Address } from "./address.ts";

const url = (text: string, endpoint: string | null, region = "us-east-1", addressingStyle: AddressingStyle = "auto") =>
  bucketUrl(parseS3Address(text), { endpoint, region, addressingStyle }, region).base.toString();

test("addresses name a bucket, a prefix and maybe the server", () => {
  assert.deepEqual(parseS3Address("s3://bucket"), { bucket: "bucket", prefix: "" });
  assert.deepEqual(parseS3Address("s3://bucket/a//b/"), { bucket: "bucket", prefix: "a/b/" });
  assert.deepEqual(parseS3Address("minio://bucket/a%20b"), { bucket: "bucket", prefix: "a b/" });
  assert.deepEqual(parseS3Address("http://localhost:9000/bucket/ch"), {
    bucket: "bucket",
    prefix: "ch/",
    endpoint: "http://localhost:9000",
  });
});

test("what is no bucket's address, or carries secrets, is refused without showing them", () => {
  const bad = [
    "s3://",
    "s3:///key",
    "s3://a",
    "s3://bucket/a%2Fb",
    "s3://bucket/a%0Ab",
    "s3://key:hidden@bucket/ch",
    "s3://bucket/ch?X-Amz-Signature=hidden",
    "https://host",
    "gs://bucket/ch",
    "bucket/ch",
    "s3://bu..cket",
  ];
  for (const text of bad)
    assert.throws(
      () => parseS3Address(text),
      (e) => e instanceof UsageError && !e.message.includes("hidden"),
      text,
    );
});

test("AWS has the bucket in its host, servers of one's own in the path, and a flag says otherwise", () => {
  assert.equal(url("s3://bucket/ch", null, "eu-west-1"), "https://bucket.s3.eu-west-1.amazonaws.com/");
  assert.equal(url("s3://bucket/ch", null, "cn-north-1"), "https://bucket.s3.cn-north-1.amazonaws.com.cn/");
  assert.equal(url("s3://with.dots/ch", null), "https://s3.us-east-1.amazonaws.com/with.dots/");
  assert.equal(url("s3://bucket/ch", "http://localhost:9000"), "http://localhost:9000/bucket/");
  assert.equal(url("s3://bucket/ch", "https://host/s3/"), "https://host/s3/bucket/");
  assert.equal(url("s3://bucket", "https://s3.example.com", "x", "virtual-host"), "https://bucket.s3.example.com/");
  assert.equal(url("s3://bucket", null, "us-east-1", "path"), "https://s3.us-east-1.amazonaws.com/bucket/");
  assert.equal(url("s3://bucket", "https://s3.eu-west-1.amazonaws.com"), "https://bucket.s3.eu-west-1.amazonaws.com/");
});

test("an endpoint or region that would send requests elsewhere is refused", () => {
  for (const endpoint of ["ftp://host", "nonsense", "https://user:pw@host", "https://host/?a=b"])
    assert.throws(() => url("s3://bucket", endpoint), UsageError, endpoint);
  for (const region of ["evil.example/", "a b", "", "x".repeat(65)])
    assert.throws(() => url("s3://bucket", null, region), UsageError, region);
});

test("whatever is typed becomes an address or a refusal", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.webUrl(),
        fc.string().map((s) => `s3://${s}`),
      ),
      (text) => {
        try {
          const { bucket, prefix } = parseS3Address(text);
          assert.ok(!bucket.includes("/") && (prefix === "" || prefix.endsWith("/")) && !prefix.includes("../"));
        } catch (e) {
          assert.ok(e instanceof UsageError, String(e));
        }
      },
    ),
  );
});
