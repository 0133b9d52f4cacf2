import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { goProgram } from "../../scripts/go-programs.ts";
import { openS3Client, type S3Client } from "../../src/s3/client.ts";
import { systemClock } from "../../src/transfer/retry.ts";

export type S3Kind = "minio" | "versitygw";

export const S3_KINDS: readonly S3Kind[] = ["minio", "versitygw"];

/** A real S3 server on 127.0.0.1 over an empty folder. Ends with the test file. */
export interface S3Server {
  readonly kind: S3Kind;
  readonly url: string;
  /** Its process. */
  readonly pid: number;
  /** What our programs find its keys by. */
  readonly env: Record<string, string>;
  /** A client with its keys. */
  client(bucket: string): S3Client;
  /** Makes a bucket. @param readable anybody may read it. */
  bucket(readable?: boolean): Promise<string>;
  stop(): Promise<void>;
}

const KEYS = { accessKeyId: "test-key-id", secretAccessKey: "the-secret-of-the-test" };

/** The secret that nothing may show. */
export const SECRET = KEYS.secretAccessKey;

let buckets = 0;

export async function startS3(kind: S3Kind): Promise<S3Server> {
  const folder = mkdtempSync(join(tmpdir(), `mfm-${kind}-`));
  const data = join(folder, "data");
  mkdirSync(data);
  const { url, child, end } = await started(kind, folder, data);
  const clients: S3Client[] = [];
  const stop = async () => {
    await Promise.all(clients.splice(0).map((c) => c.close()));
    child.kill();
    await end;
    rmSync(folder, { recursive: true, force: true });
  };
  after(stop);
  const client = (bucket: string): S3Client => {
    const made = openS3Client(
      { bucket, prefix: "" },
      {
        endpoint: url,
        region: null,
        addressingStyle: "auto",
        keys: async () => KEYS,
        requests: { connections: 16, totalTimeoutMs: 60_000, tokens: NO_TOKENS, proxies: undefined },
        connections: 16,
        retryAttempts: 3,
        // No one waits between tries.
        clock: { ...systemClock, sleep: async () => undefined },
      },
    );
    clients.push(made);
    return made;
  };
  return {
    kind,
    url,
    pid: child.pid as number,
    env: { AWS_ACCESS_KEY_ID: KEYS.accessKeyId, AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey, S3_ENDPOINT_URL: url },
    client,
    async bucket(readable = false) {
      const name = `bucket-${process.pid}-${buckets++}`;
      const made = client(name);
      // MinIO answers before it can: it knows no objects for a moment after its start.
      await until(async () => (await made.request({ method: "PUT", answers: [503, 500] })).status === 200);
      if (readable) {
        const allow = {
          Effect: "Allow",
          Principal: "*",
          Action: ["s3:GetObject"],
          Resource: [`arn:aws:s3:::${name}/*`],
        };
        const policy = Buffer.from(JSON.stringify({ Version: "2012-10-17", Statement: [allow] }));
        const { hash } = await import("node:crypto");
        await made.request({ method: "PUT", query: { policy: "" }, body: policy, bodySha256: hash("sha256", policy) });
      }
      return name;
    },
    stop,
  };
}

/** Starts the server. Between the choice of a port and its use another program may take it: then it is another one's turn. */
async function started(kind: S3Kind, folder: string, data: string) {
  for (let again = 0; ; again++) {
    const address = `127.0.0.1:${await freePort()}`;
    const args: Record<S3Kind, readonly string[]> = {
      minio: ["server", "--quiet", "--address", address, data],
      versitygw: ["--port", address, "--keep-alive", "--quiet", "posix", data],
    };
    const child = spawn(goProgram(kind), args[kind], {
      stdio: "ignore",
      env: {
        HOME: folder,
        PATH: process.env["PATH"] ?? "",
        MINIO_ROOT_USER: KEYS.accessKeyId,
        MINIO_ROOT_PASSWORD: KEYS.secretAccessKey,
        MINIO_BROWSER: "off",
        // Its folder may lie on the disk that the system runs from.
        MINIO_CI_CD: "1",
        ROOT_ACCESS_KEY: KEYS.accessKeyId,
        ROOT_SECRET_KEY: KEYS.secretAccessKey,
      },
    });
    let ended = false;
    const end = new Promise<void>((resolve) =>
      child.on("close", () => {
        ended = true;
        resolve();
      }),
    );
    const url = `http://${address}`;
    await until(async () => ended || (await fetch(url).catch(() => undefined)) !== undefined);
    if (!ended) return { url, child, end };
    if (again === 5) throw new Error(`${kind} ended at once, again and again`);
  }
}

const NO_TOKENS = {
  github_token: null,
  github_api_url: "https://api.github.com",
  azure_devops_token: null,
  azure_devops_url: "https://dev.azure.com",
};

/** Asks again until it is so; a server that never is ends the test by its time limit. */
async function until(so: () => Promise<boolean>): Promise<void> {
  while (!(await so())) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Below the ports that systems give to connections that go out, which come and go by the thousand. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.on("error", () => resolve(false)).listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
}
