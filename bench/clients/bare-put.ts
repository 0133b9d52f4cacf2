import { hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { openS3Client } from "../../src/s3/client.ts";
import { putObject } from "../../src/s3/object.ts";
import { systemClock } from "../../src/transfer/retry.ts";

// Makes a bucket, or sends files to it, 32 at a time: bare-put.ts ENDPOINT BUCKET [LIST]
const [endpoint = "", bucket = "", list] = process.argv.slice(2);
const keys = {
  accessKeyId: process.env["AWS_ACCESS_KEY_ID"] ?? "",
  secretAccessKey: process.env["AWS_SECRET_ACCESS_KEY"] ?? "",
};
const tokens = { github_token: null, github_api_url: "", azure_devops_token: null, azure_devops_url: "" };
const client = openS3Client(
  { bucket, prefix: "bare/" },
  {
    endpoint,
    region: null,
    addressingStyle: "auto",
    keys: async () => keys,
    requests: { connections: 32, totalTimeoutMs: 60_000, tokens, proxies: undefined },
    connections: 32,
    retryAttempts: 3,
    clock: systemClock,
  },
);
if (list === undefined) await client.request({ method: "PUT" });
else {
  const paths = readFileSync(list, "utf8").split("\n");
  let next = 0;
  const send = async () => {
    for (let path = paths[next++]; path !== undefined; path = paths[next++]) {
      const body = await readFile(path);
      await putObject(client, { key: basename(path), headers: {}, body, sha256: hash("sha256", body), expect: "any" });
    }
  };
  await Promise.all(Array.from({ length: 32 }, send));
}
await client.close();
