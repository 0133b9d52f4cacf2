import { setImmediate } from "node:timers/promises";
import { BitWriter } from "./bit-writer.ts";
import { BlockCoder } from "./block-codes.ts";
import { CRC } from "./bzip2-block.ts";
import { RotationSorter } from "./rotations.ts";

/*
 * bzip2 for index files: written from the format's public description, like the decoder. This file knows the stream and
 * the run lengths that come first, rotations.ts the sort, block-codes.ts and code-lengths.ts what follows it
 * (docs/decisions/010-bzip2-encoder.md).
 */

/** A run of this many bytes or more is written as that many and a count. */
const RUN = 4;
/** Longer ones are two runs. */
const MAX_RUN = 255;

/**
 * One bzip2 stream, in a piece for each block. Same bytes in, same bytes out, however they are cut into pieces. Lets
 * the event loop run between blocks, each of which takes up to a tenth of a second.
 * @param pieces the content; each is used up before the next is asked for.
 * @param level 1 to 9: blocks of as many times 100 kB. It takes about 14 times that of memory.
 */
export async function* compressedBz2(pieces: Iterable<Uint8Array>, level = 9): AsyncGenerator<Uint8Array> {
  const encoder = new Encoder(level);
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      at = encoder.fill(piece, at);
      if (at === piece.length) break;
      yield encoder.block();
      await setImmediate();
    }
  }
  yield encoder.end();
}

class Encoder {
  readonly #sorter: RotationSorter;
  readonly #coder: BlockCoder;
  readonly #bits = new BitWriter();
  /** Bytes of a block at most. */
  readonly #room: number;
  #length = 0;
  #crc = -1;
  #streamCrc = 0;
  /** The run that is not in the block yet. */
  #byte = 0;
  #run = 0;

  constructor(level: number) {
    this.#room = level * 100_000;
    this.#sorter = new RotationSorter(this.#room);
    this.#coder = new BlockCoder(this.#room);
    this.#bits.put(0x425a68, 24); // "BZh"
    this.#bits.put(0x30 + level, 8);
  }

  /**
   * Takes bytes of a piece into the block, up to where the block is full or the piece ends; gives that place. The run
   * that the last bytes make is kept back, since more of it may come.
   */
  fill(piece: Uint8Array, from: number): number {
    const { block } = this.#sorter;
    const full = this.#room - RUN - 1;
    let length = this.#length;
    let crc = this.#crc;
    let byte = this.#byte;
    let run = this.#run;
    let at = from;
    for (; at < piece.length; at++) {
      const next = piece[at] as number;
      if (next === byte && run < MAX_RUN) {
        run++;
        continue;
      }
      if (length > full) break;
      for (let i = 0; i < run; i++) {
        crc = (crc << 8) ^ (CRC[(crc >>> 24) ^ byte] as number);
        if (i < RUN) block[length++] = byte;
      }
      if (run >= RUN) block[length++] = run - RUN;
      byte = next;
      run = 1;
    }
    this.#length = length;
    this.#crc = crc;
    this.#byte = byte;
    this.#run = run;
    return at;
  }

  /** Writes the block, and gives what is ready of the file. */
  block(): Uint8Array {
    const bits = this.#bits;
    const crc = ~this.#crc;
    bits.put(0x314159, 24);
    bits.put(0x265359, 24);
    bits.put(crc >>> 16, 16);
    bits.put(crc & 0xffff, 16);
    bits.put(0, 1); // not randomised
    bits.put(this.#sorter.sort(this.#length), 24);
    this.#coder.write(this.#sorter.column, this.#length, bits);
    this.#streamCrc = ((this.#streamCrc << 1) | (this.#streamCrc >>> 31)) ^ crc;
    this.#length = 0;
    this.#crc = -1;
    return bits.take();
  }

  /** The rest of the file. */
  end(): Uint8Array {
    const bits = this.#bits;
    const blocks: Uint8Array[] = [];
    // Any other byte ends the run, and is itself left behind.
    const last = Uint8Array.of(this.#byte ^ 1);
    if (this.fill(last, 0) === 0) {
      blocks.push(this.block());
      this.fill(last, 0);
    }
    if (this.#length > 0) blocks.push(this.block());
    bits.put(0x177245, 24);
    bits.put(0x385090, 24);
    bits.put(this.#streamCrc >>> 16, 16);
    bits.put(this.#streamCrc & 0xffff, 16);
    bits.close();
    return Buffer.concat([...blocks, bits.take()]);
  }
}
