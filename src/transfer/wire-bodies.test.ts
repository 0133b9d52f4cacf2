import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { after, test } from "node:test";
import fc from "fast-check";
import { makePortions } from "./portions.ts";
import type { Body, Response } from "./response.ts";
import { openWire } from "./wire.ts";

const never = new AbortController().signal;
const limits = { connections: 2, connectTimeoutMs: 2000, idleTimeoutMs: 2000 };

async function serving(answer: (request: IncomingMessage, response: ServerResponse) => unknown) {
  const state = { connections: 0 };
  const server = createServer(answer);
  server.on("connection", () => state.connections++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const wire = openWire(limits, makePortions());
  after(async () => {
    await wire.close();
    server.closeAllConnections();
    server.close();
  });
  const url = new URL(`http://127.0.0.1:${(server.address() as { port: number }).port}/x`);
  const send = (method: string, body?: Uint8Array | Body, signal = never) =>
    wire.send({ method, url, headers: {}, ...(body ? { body } : {}) }, { signal, withinMs: 10_000 });
  return Object.assign(state, { send });
}

async function text(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of response.chunks) parts.push(chunk);
  return Buffer.concat(parts).toString();
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A server that answers with the length and the hash of what it got. */
async function echo() {
  return serving(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const all = Buffer.concat(parts);
    response.end(`${request.method} ${request.headers["content-length"]} ${all.length} ${sha256(all)}`);
  });
}

/** The same bytes, in pieces of the given sizes. */
function inPieces(bytes: Uint8Array, sizes: readonly number[]): Body {
  return {
    size: bytes.length,
    async *open() {
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const n = sizes[i % sizes.length] as number;
        yield bytes.subarray(at, at + n);
        at += n;
      }
    },
  };
}

test("a body arrives whole, whatever its size and its pieces, and the connection is used again", async () => {
  const server = await echo();
  const bytes = randomBytes(1_500_000);
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: 200_000, max: 1_500_000 })),
      fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 4 }),
      fc.constantFrom("PUT", "POST"),
      async (size, sizes, method) => {
        const part = bytes.subarray(0, size);
        const plenty = sizes.map((n) => Math.max(n, size >> 8, 1));
        for (const body of [part, inPieces(part, plenty)])
          assert.equal(await text(await server.send(method, body)), `${method} ${size} ${size} ${sha256(part)}`);
      },
    ),
    { numRuns: 40 },
  );
  assert.ok(server.connections <= 12, `${server.connections} connections`);
});

test("a request without a body says so, and an answer to HEAD has none, whatever length it names", async () => {
  const server = await serving((request, response) => {
    response.writeHead(200, { "content-length": 1_000_000_000 });
    if (request.method === "HEAD") response.end();
    else response.writeHead(200).end();
  });
  const head = await server.send("HEAD");
  assert.equal(head.headers.get("content-length"), "1000000000");
  assert.equal(await text(head), "");
  const plain = await echo();
  assert.match(await text(await plain.send("PUT")), /^PUT 0 0 /);
  assert.match(await text(await plain.send("DELETE")), /^DELETE undefined 0 /);
});

test("an answer that comes before the body has been sent is heard, and the rest is not sent", async () => {
  let got = 0;
  const server = await serving((request, response) => {
    request.on("data", (d: Buffer) => {
      got += d.length;
    });
    response.writeHead(412, { "content-type": "text/plain" }).end("not so");
  });
  let given = 0;
  const body: Body = {
    size: 1_000_000_000,
    async *open() {
      while (given < 1_000_000_000) {
        given += 100_000;
        yield Buffer.alloc(100_000);
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
  const response = await server.send("PUT", body);
  assert.equal(response.status, 412);
  assert.equal(await text(response), "not so");
  assert.ok(given < 500_000_000 && got < 500_000_000, `${given} ${got}`);
  assert.equal((await server.send("PUT", Buffer.from("x"))).status, 412);
});

test("a body that is shorter or longer than it says, or fails, fails the request", async () => {
  const server = await echo();
  const of = (size: number, ...pieces: (string | Error)[]): Body => ({
    size,
    async *open() {
      for (const piece of pieces) {
        if (piece instanceof Error) throw piece;
        yield Buffer.from(piece);
      }
    },
  });
  await assert.rejects(server.send("PUT", of(10, "short")), /10 bytes that were announced/);
  await assert.rejects(server.send("PUT", of(3, "too long")), /3 bytes that were announced/);
  await assert.rejects(server.send("PUT", of(10, "abc", new Error("the disk failed"))), /the disk failed/);
});

test("a write whose answer is lost is not repeated, a read is", async () => {
  const seen: string[] = [];
  const server = await serving((request, response) => {
    seen.push(request.method as string);
    // The first request on a connection is answered, the second one breaks it.
    if (seen.length % 2 === 1) request.resume().on("end", () => response.end("ok"));
    else request.socket.destroy();
  });
  await text(await server.send("PUT", Buffer.from("a")));
  await assert.rejects(server.send("PUT", Buffer.from("b")));
  assert.deepEqual(seen, ["PUT", "PUT"]);
  await text(await server.send("GET"));
  assert.equal(await text(await server.send("GET")), "ok");
  assert.deepEqual(seen, ["PUT", "PUT", "GET", "GET", "GET"]);
});
