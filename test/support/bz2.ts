import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fc from "fast-check";

/** Sends many inputs through one Python: each is [length, level, bytes], each answer [ok, length, bytes]. */
export function python(
  script: string,
  inputs: readonly { level: number; bytes: Uint8Array }[],
): (Buffer | undefined)[] {
  const input = Buffer.concat(
    inputs.flatMap(({ level, bytes }) => {
      const head = Buffer.alloc(5);
      head.writeUInt32LE(bytes.length);
      head[4] = level;
      return [head, bytes];
    }),
  );
  const frame = `
import bz2, struct, sys
def decode(b):
    out = b""
    while True:
        d = bz2.BZ2Decompressor()
        out += d.decompress(b)
        if not d.eof: raise ValueError
        b = d.unused_data
        if len(b) < 4 or b[:3] != b"BZh" or b[3] not in b"123456789": return out
i, o = sys.stdin.buffer, sys.stdout.buffer
while head := i.read(5):
    n, level = struct.unpack("<IB", head)
    b = i.read(n)
    try: r, ok = ${script}, 1
    except Exception: r, ok = b"", 0
    o.write(struct.pack("<IB", len(r), ok) + r)
`;
  const run = spawnSync("python3", ["-c", frame], { input, maxBuffer: 1 << 30 });
  assert.equal(run.status, 0, String(run.stderr));
  const answers: (Buffer | undefined)[] = [];
  for (let at = 0; at < run.stdout.length; ) {
    const length = run.stdout.readUInt32LE(at);
    answers.push(run.stdout[at + 4] === 1 ? run.stdout.subarray(at + 5, at + 5 + length) : undefined);
    at += 5 + length;
  }
  return answers;
}

/** Bytes with what the format has rules for: runs of every length, few and many different bytes, repeated text, noise. */
export const content = fc
  .array(
    fc.oneof(
      fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 1100 })).map(([byte, n]) => Buffer.alloc(n, byte)),
      fc.uint8Array({ maxLength: 600 }).map((b) => Buffer.from(b)),
      fc.tuple(fc.string({ minLength: 1 }), fc.integer({ min: 1, max: 200 })).map(([s, n]) => Buffer.from(s.repeat(n))),
      fc.tuple(fc.nat(0xffff_ffff), fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 1, max: 256 })).map(noise),
    ),
    { maxLength: 12 },
  )
  .map((parts) => Buffer.concat(parts));

export function noise([seed, length, alphabet]: [number, number, number]): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = (state >>> 16) % alphabet;
  }
  return bytes;
}
