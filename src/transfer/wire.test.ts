import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer, type Socket } from "node:net";
import { after, test } from "node:test";
import fc from "fast-check";
import { paceSettings } from "./pace.ts";
import { makePortions } from "./portions.ts";
import { ChunkedBody, parseResponseHead } from "./response-head.ts";
import { openWire } from "./wire.ts";

const never = new AbortController().signal;
const wires: { close(): Promise<void> }[] = [];
after(() => Promise.all(wires.map((w) => w.close())));

/** A server that does to each request, by its number, what the test says. */
async function server(answer: (socket: Socket, n: number, head: string) => unknown) {
  const state = { connections: 0, requests: 0 };
  const listening = createServer((socket) => {
    state.connections++;
    let text = "";
    socket.on("error", () => undefined);
    socket.on("data", (d) => {
      text += d.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        answer(socket, ++state.requests, text.slice(0, end));
        text = text.slice(end + 4);
      }
    });
  });
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  after(() => listening.close());
  const { port } = listening.address() as { port: number };
  return Object.assign(state, { url: new URL(`http://127.0.0.1:${port}/a?b`) });
}

function wire(more: Partial<Parameters<typeof openWire>[0]> = {}) {
  const opened = openWire({ connections: 4, connectTimeoutMs: 2000, idleTimeoutMs: 2000, ...more }, makePortions());
  wires.push(opened);
  const get = (url: URL, signal = never, withinMs = 10_000) => opened.get(url, { accept: "*/*" }, { signal, withinMs });
  const body = async (url: URL, signal?: AbortSignal, withinMs?: number) => {
    const parts: Uint8Array[] = [];
    for await (const chunk of (await get(url, signal, withinMs)).chunks) parts.push(chunk);
    return Buffer.concat(parts);
  };
  return { get, body };
}

const coded = (content: Uint8Array, sizes: readonly number[]): Buffer => {
  const parts: Uint8Array[] = [];
  for (let at = 0, i = 0; at < content.length; i++) {
    const n = Math.min(sizes[i % sizes.length] as number, content.length - at);
    parts.push(Buffer.from(`${n.toString(16)};x="y"\r\n`), content.subarray(at, at + n), Buffer.from("\r\n"));
    at += n;
  }
  return Buffer.concat([...parts, Buffer.from("0\r\ntrailer: t\r\n\r\n")]);
};

test("an answer is the same however it is framed and wherever the network cuts it", async () => {
  let next: { bytes: Buffer; cuts: readonly number[]; close: boolean } | undefined;
  const { url } = await server(async (socket) => {
    const { bytes, cuts, close } = next as NonNullable<typeof next>;
    const at = [0, ...cuts.map((c) => c % bytes.length).sort((a, b) => a - b), bytes.length];
    for (let i = 1; i < at.length; i++) {
      socket.write(bytes.subarray(at[i - 1], at[i]));
      await new Promise(setImmediate);
    }
    if (close) socket.end();
  });
  const { get } = wire();
  const framing = fc.constantFrom("length", "chunks", "close");
  const anything = { minLength: 0, maxLength: 3000 };
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array(anything),
      framing,
      fc.array(fc.nat(), { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 999 }), { minLength: 1, maxLength: 4 }),
      async (content, by, cuts, sizes) => {
        const early = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
        const header =
          by === "length"
            ? `content-length: ${content.length}`
            : by === "chunks"
              ? "Transfer-Encoding: chunked"
              : "x: y";
        const head = `${early}HTTP/1.1 200 OK\r\n${header}\r\nETag:  "é" \r\n\r\n`;
        const bytes = Buffer.concat([Buffer.from(head, "latin1"), by === "chunks" ? coded(content, sizes) : content]);
        next = { bytes, cuts, close: by === "close" };
        const response = await get(url);
        assert.deepEqual([response.status, response.headers.get("etag")], [200, '"é"']);
        const parts: Uint8Array[] = [];
        for await (const chunk of response.chunks) parts.push(chunk);
        assert.deepEqual(Buffer.concat(parts), Buffer.from(content));
      },
    ),
    { numRuns: 200 },
  );
});

test("the chunked coding is taken off whatever it is cut into, and hostile forms of it are refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1 }), fc.integer({ min: 1, max: 50 }), (content, step) => {
      const bytes = Buffer.concat([coded(content, [7, 1, 300]), Buffer.from("next answer")]);
      const body = new ChunkedBody();
      const parts: Buffer[] = [];
      let at = 0;
      for (let end = step; !body.ended; end += step)
        at = body.take(bytes, at, Math.min(end, bytes.length), (a, b) => parts.push(bytes.subarray(a, b)));
      assert.deepEqual([Buffer.concat(parts), bytes.toString("latin1", at)], [Buffer.from(content), "next answer"]);
    }),
  );
  for (const bad of [
    "5\nhello",
    "-1\r\n",
    "5\r\nhelloX\r\n",
    "0x5\r\nhello",
    " 5\r\nhello",
    "ffffffffffffffff\r\n",
    "\r\n",
  ]) {
    assert.throws(() => new ChunkedBody().take(Buffer.from(bad), 0, bad.length, () => undefined), /./, bad);
  }
});

test("heads that readers could take differently are refused", () => {
  const ok = "HTTP/1.1 200 OK\r\n";
  for (const bad of [
    "HTTP/2 200",
    "ICY 200 OK",
    "HTTP/1.1 20 OK",
    `${ok}content-length: 5\r\ncontent-length: 6`,
    `${ok}content-length: 5\r\ntransfer-encoding: chunked`,
    `${ok}content-length: 5, 6`,
    `${ok}content-length: -5`,
    `${ok}content-length: 0x5`,
    `${ok}content-length: 99999999999999999999`,
    `${ok}transfer-encoding: gzip, chunked`,
    `${ok}a: b\r\n c`,
    `${ok}a : b`,
    `${ok}a: b\nc: d`,
    `${ok}: b`,
    // Refused at once: a pattern that tries all ways to cut the spaces would take days.
    `${ok}a:${"\t".repeat(60_000)}\n`,
  ])
    assert.throws(() => parseResponseHead(bad), { code: "BAD_RESPONSE" }, bad);
  const spaced = parseResponseHead(`${ok}a:${" \t".repeat(30_000)}b${" ".repeat(60_000)}c \t`).headers.get("a");
  assert.equal(spaced, `b${" ".repeat(60_000)}c`);
  const reused = (text: string) => parseResponseHead(text).keepAlive;
  assert.deepEqual(
    [`${ok}content-length: 0`, `${ok}content-length: 0\r\nconnection: Close`, ok.trim(), "HTTP/1.0 204 No"].map(reused),
    [true, false, false, false],
  );
});

test("connections are used again, no more than the limit, and one that the server closed meanwhile is no failure", async () => {
  const at = await server((socket, n) => {
    socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    // The eighth answer's connection goes without a word after the answer, the next request on it goes nowhere.
    if (n === 8) socket.removeAllListeners("data").on("data", () => socket.destroy());
  });
  const { body } = wire({ connections: 2 });
  assert.deepEqual(await Promise.all(Array.from({ length: 8 }, () => body(at.url).then(String))), Array(8).fill("ok"));
  assert.equal(at.connections, 2);
  for (let i = 0; i < 4; i++) assert.equal(String(await body(at.url)), "ok");
  assert.equal(at.connections, 3);
});

test("what comes before a break is handed out, then the break is told", async () => {
  const content = randomBytes(100_000);
  const at = await server((socket) => {
    socket.write("HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n");
    socket.write(content, () => socket.destroy());
  });
  const { chunks } = await wire().get(at.url);
  const parts: Uint8Array[] = [];
  await assert.rejects(async () => {
    for await (const chunk of chunks) parts.push(chunk);
  });
  assert.deepEqual(Buffer.concat(parts), content);
});

test("a server that says more than it announced is not asked again on that connection", async () => {
  const at = await server((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200"));
  const { body } = wire();
  assert.equal(String(await body(at.url)), "ok");
  assert.equal(String(await body(at.url)), "ok");
  assert.equal(at.connections, 2);
});

test("a reader who is slow makes the server wait, and gets everything", async () => {
  const content = randomBytes(8_000_000);
  let unsent = 0;
  const at = await server((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${content.length}\r\n\r\n`);
    for (let i = 0; i < content.length; i += 65_536) socket.write(content.subarray(i, i + 65_536));
    unsent = socket.writableLength;
    const watch = setInterval(() => {
      unsent = socket.writableLength;
    }, 5);
    socket.on("close", () => clearInterval(watch));
  });
  // Idle for longer than the time-out, by our own doing: no failure.
  const { chunks } = await wire({ idleTimeoutMs: 100 }).get(at.url);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.ok(unsent > 0, "the server could send everything though nobody took it");
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  assert.deepEqual(Buffer.concat(parts), content);
});

test("silence ends in a time-out that says what was waited for; an abort ends it at once", async () => {
  const at = await server((socket, n) => {
    if (n % 2 === 0) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no");
  });
  const { body } = wire({ idleTimeoutMs: 50 });
  await assert.rejects(body(at.url), { code: "HEADERS_TIMEOUT" });
  await assert.rejects(body(at.url), { code: "BODY_TIMEOUT" });
  await assert.rejects(wire().body(at.url, never, 30), { code: "TOTAL_TIMEOUT" });
  const stop = new AbortController();
  const aborted = wire().body(at.url, stop.signal);
  setImmediate(() => stop.abort(new Error("enough")));
  await assert.rejects(aborted, /enough/);
  await assert.rejects(wire().body(at.url, AbortSignal.abort(new Error("before"))), /before/);
});

test("a limit on bytes a second holds all connections together, and no time-out counts the waiting", async () => {
  const content = randomBytes(400_000);
  const at = await server((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${content.length}\r\n\r\n`);
    socket.write(content);
  });
  const began = performance.now();
  const { body } = wire({ pace: paceSettings(1_000_000), idleTimeoutMs: 150, connections: 2 });
  // Each of the three alone would be done within the time that it may take; together they wait for longer.
  const bodies = await Promise.all([1, 2, 3].map(() => body(at.url, never, 900)));
  const seconds = (performance.now() - began) / 1000;
  for (const one of bodies) assert.deepEqual(one, content);
  assert.ok(seconds > 0.8, `1,200,000 bytes came in ${seconds} s`);
});
