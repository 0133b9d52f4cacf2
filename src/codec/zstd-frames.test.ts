import assert from "node:assert/strict";
import { test } from "node:test";
import { constants, createZstdCompress, createZstdDecompress, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import fc from "fast-check";
import { decodeFrame, decodeFrames, FramePacker } from "./zstd-frames.ts";
import { reusableZstd } from "./zstd-reused.ts";

const PARAMS = {
  [constants.ZSTD_c_compressionLevel]: 3,
  [constants.ZSTD_c_windowLog]: 23,
  [constants.ZSTD_c_checksumFlag]: 1,
};

/** Bytes that compress somewhat: runs of words, some of them often. */
const content = fc
  .tuple(
    fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 20 }),
    fc.nat(9000),
    fc.nat(),
  )
  .map(([words, count, seed]) => {
    const parts: Uint8Array[] = [];
    for (let i = 0, x = seed; i < count; i++) {
      x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
      parts.push(words[(x >>> 8) % words.length] as Uint8Array);
    }
    return Buffer.concat(parts);
  });

test("a frame does not depend on what was packed before it, and node's own call unpacks it", () => {
  const packer = new FramePacker(PARAMS);
  fc.assert(
    fc.property(fc.array(content, { maxLength: 6 }), (contents) => {
      for (const one of contents) {
        const frame = packer.pack(one);
        assert.deepEqual(frame, new FramePacker(PARAMS).pack(one));
        assert.deepEqual(zstdDecompressSync(frame), one);
      }
    }),
    { numRuns: 60 },
  );
});

test("what is too large for a context that is kept is packed and unpacked as well", () => {
  const large = Buffer.alloc(3_000_000, "large ");
  const packer = new FramePacker(PARAMS);
  for (const one of [large, Buffer.from("small"), large]) {
    assert.deepEqual(decodeFrame(packer.pack(one), 4_000_000).content, one);
  }
});

interface Outcome {
  readonly content?: Uint8Array;
  readonly fails?: boolean;
}

function outcome(decode: () => Uint8Array): Outcome {
  try {
    return { content: Buffer.from(decode()) };
  } catch {
    return { fails: true };
  }
}

test("whatever bytes come, a frame is decoded as node decodes it, and so is the next one", () => {
  const sound = zstdCompressSync(Buffer.from("a sound frame ".repeat(9)));
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 });
  const stated = fc.constantFrom(0, 1);
  fc.assert(
    fc.property(content, stated, fc.nat(1), edits, fc.option(fc.nat()), (plain, size, checksum, changes, cut) => {
      const params = { [constants.ZSTD_c_contentSizeFlag]: size, [constants.ZSTD_c_checksumFlag]: checksum };
      let frame = Buffer.from(zstdCompressSync(plain, { params, ...(size ? { pledgedSrcSize: plain.length } : {}) }));
      for (const [at, to] of changes) frame[at % frame.length] = to;
      if (cut !== null) frame = frame.subarray(0, cut % (frame.length + 1));
      const limit = 500_000;
      const options = { info: true, maxOutputLength: limit } as object;
      const expected = outcome(() => (zstdDecompressSync(frame, options) as unknown as { buffer: Uint8Array }).buffer);
      assert.deepEqual(
        outcome(() => decodeFrame(frame, limit).content),
        expected,
      );
      assert.equal(decodeFrame(sound, limit).bytes, sound.length);
    }),
    { numRuns: 400 },
  );
});

test("all frames of a file are decoded, up to the limit", () => {
  const frames = Buffer.concat(["one, ", "two, ", "three"].map((s) => zstdCompressSync(Buffer.from(s))));
  assert.equal(Buffer.from(decodeFrames(frames, 15)).toString(), "one, two, three");
  assert.throws(() => decodeFrames(frames, 14), { code: "ERR_BUFFER_TOO_LARGE" });
  assert.throws(() => decodeFrames(frames.subarray(0, -1), 100));
  assert.throws(() => decodeFrames(Buffer.concat([frames, Buffer.from("more")]), 100));
});

test("node's contexts are as we know them: else everything would be right, and slower", () => {
  const packed = Buffer.alloc(100);
  const packer = reusableZstd(() => createZstdCompress(), constants.ZSTD_e_end);
  const first = packer.run(Buffer.from("first"), packed);
  assert.equal(first?.read, 5);
  const decoder = reusableZstd(() => createZstdDecompress(), constants.ZSTD_e_continue);
  const plain = Buffer.alloc(5);
  assert.deepEqual(decoder.run(packed.subarray(0, first.written), plain), { read: first.written, written: 5 });
  assert.equal(plain.toString(), "first");
});

test("where node's streams are others than we know, nothing is done with them", () => {
  for (const insides of [{}, { _handle: {} }, { _handle: { writeSync() {} }, _writeState: [0, 0] }]) {
    const unknown = reusableZstd(() => insides as ReturnType<typeof createZstdCompress>, constants.ZSTD_e_end);
    assert.equal(unknown.run(Buffer.from("x"), Buffer.alloc(100)), undefined);
  }
});
