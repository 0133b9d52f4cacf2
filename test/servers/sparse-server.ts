import { createServer } from "node:http";
import { crc32 } from "node:zlib";
import { listening } from "./listening.ts";

/** A file as a row of bytes and of zeros (a number of them), so that a large one takes no room. */
export type Sparse = readonly (Uint8Array | number)[];

const lengthOf = (piece: Uint8Array | number) => (typeof piece === "number" ? piece : piece.length);

/** The bytes of a sparse file from `start` to `end`, in portions. */
function* bytesOf(file: Sparse, start: number, end: number): Generator<Uint8Array> {
  const zeros = new Uint8Array(256 * 1024);
  let at = 0;
  for (const piece of file) {
    const length = lengthOf(piece);
    for (let from = Math.max(start, at); from < Math.min(end, at + length); ) {
      const n = Math.min(zeros.length, end - from, at + length - from);
      yield typeof piece === "number" ? zeros.subarray(0, n) : piece.subarray(from - at, from - at + n);
      from += n;
    }
    at += length;
  }
}

/** A zip whose members are bytes or runs of zeros, stored; zip64 wherever a number needs it. */
export function sparseZip(entries: readonly { name: string; content: Uint8Array | number }[]): Sparse {
  const pieces: (Uint8Array | number)[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content } of entries) {
    const size = lengthOf(content);
    const crc = typeof content === "number" ? 0 : crc32(content);
    const large = size > 0xfffffffe || offset > 0xfffffffe;
    const local = Buffer.alloc(30 + name.length);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt32LE(crc, 14);
    local.writeUInt16LE(name.length, 26);
    local.write(name, 30);
    pieces.push(local, content);
    const extra = Buffer.alloc(large ? 28 : 0);
    if (large) {
      extra.writeUInt16LE(1, 0);
      extra.writeUInt16LE(24, 2);
      for (const [i, n] of [size, size, offset].entries()) extra.writeBigUInt64LE(BigInt(n), 4 + i * 8);
    }
    const central = Buffer.alloc(46 + name.length);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt32LE(crc, 16);
    central.writeUInt32LE(large ? 0xffffffff : size, 20);
    central.writeUInt32LE(large ? 0xffffffff : size, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt16LE(extra.length, 30);
    central.writeUInt32LE(large ? 0xffffffff : offset, 42);
    central.write(name, 46);
    directory.push(central, extra);
    offset += local.length + size;
  }
  const central = Buffer.concat(directory);
  const end64 = Buffer.alloc(56 + 20);
  end64.writeUInt32LE(0x06064b50, 0);
  end64.writeBigUInt64LE(44n, 4);
  end64.writeBigUInt64LE(BigInt(entries.length), 32);
  end64.writeBigUInt64LE(BigInt(central.length), 40);
  end64.writeBigUInt64LE(BigInt(offset), 48);
  end64.writeUInt32LE(0x07064b50, 56);
  end64.writeBigUInt64LE(BigInt(offset + central.length), 64);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.fill(0xff, 8, 20);
  return [...pieces, central, end64, end];
}

/** Serves one sparse file, with ranges, and counts the bytes of the bodies that it sent. Ends with the test file. */
export async function sparseServer(
  file: Sparse,
): Promise<{ url: string; sent: number; requests: number; size: number }> {
  const size = file.reduce<number>((sum, piece) => sum + lengthOf(piece), 0);
  const state = { url: "", sent: 0, requests: 0, size };
  const server = createServer(async (request, response) => {
    state.requests++;
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const start = Number(range?.[1] ?? 0);
    const end = range?.[2] ? Math.min(size, Number(range[2]) + 1) : size;
    response.writeHead(range ? 206 : 200, {
      etag: '"sparse"',
      "content-length": end - start,
      ...(range ? { "content-range": `bytes ${start}-${end - 1}/${size}` } : {}),
    });
    for (const portion of bytesOf(file, start, end)) {
      state.sent += portion.length;
      if (!response.write(portion))
        await new Promise((resolve) => response.once("drain", resolve).once("close", resolve));
      if (response.destroyed) return;
    }
    response.end();
  });
  state.url = await listening(server);
  return state;
}
