import { JsonOut } from "./json-out.ts";

/** Thrown where bytes are not the msgpack that was expected. */
export class MsgpackError extends Error {}

/**
 * Walks msgpack bytes value by value, making nothing of what is not asked for: the shard index of a large subdir holds
 * tens of thousands of hashes (a general decoder takes 0.25 s for 20,000, this 10 ms).
 */
export class MsgpackReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Whether everything was read. */
  get done(): boolean {
    return this.#at === this.#bytes.length;
  }
  /** Members of the map that begins here. */
  map(): number {
    const head = this.#byte();
    if (head >= 0x80 && head <= 0x8f) return head & 15;
    if (head === 0xde) return this.#number(2);
    if (head === 0xdf) return this.#number(4);
    throw new MsgpackError("a map was expected");
  }
  text(): string {
    const length = this.#textLength(this.#byte());
    if (length === undefined) throw new MsgpackError("text was expected");
    return this.#take(length).toString("utf8");
  }
  /** A byte string, or text; what it gives shares the memory. */
  bytesOrText(): Buffer {
    const head = this.#byte();
    const length = this.#textLength(head) ?? this.#binLength(head);
    if (length === undefined) throw new MsgpackError("bytes were expected");
    return this.#take(length);
  }
  /** Passes over one value. */
  skip(depth = 0): void {
    if (depth > 64) throw new MsgpackError("nested too deep");
    const head = this.#byte();
    const length = this.#textLength(head) ?? this.#binLength(head);
    if (length !== undefined) this.#take(length);
    else if (head <= 0x7f || head >= 0xe0 || (head >= 0xc0 && head <= 0xc3)) return;
    else if (head <= 0x9f) this.#skipMany((head & 15) * (head < 0x90 ? 2 : 1), depth);
    else if (head === 0xdc || head === 0xdd) this.#skipMany(this.#number(head === 0xdc ? 2 : 4), depth);
    else if (head === 0xde || head === 0xdf) this.#skipMany(2 * this.#number(head === 0xde ? 2 : 4), depth);
    else if (head >= 0xd4 && head <= 0xd8) this.#take(1 + 2 ** (head - 0xd4));
    else if (head >= 0xc7 && head <= 0xc9) this.#take(1 + this.#number(2 ** (head - 0xc7)));
    else if (head === 0xca) this.#take(4);
    else if (head === 0xcb) this.#take(8);
    else this.#take(2 ** (head >= 0xd0 ? head - 0xd0 : head - 0xcc));
  }

  /** The JSON that the next value stands for, as `jsonInto` writes it. */
  json(): string {
    const out = new JsonOut(256);
    this.jsonInto(out);
    return out.written().toString("utf8");
  }
  /** Writes the JSON string that the next value, a text, stands for. */
  textInto(out: JsonOut): void {
    const length = this.#textLength(this.#byte());
    if (length === undefined) throw new MsgpackError("text was expected");
    out.string(this.#bytes, this.#pass(length), this.#at);
  }
  /**
   * Writes the JSON that the next value stands for: raw bytes become hex, as hashes are there, and whole numbers stay exact. Makes
   * no objects on the way: half a million records pass here.
   */
  jsonInto(out: JsonOut, depth = 0): void {
    if (depth > 64) throw new MsgpackError("nested too deep");
    const head = this.#byte();
    const text = this.#textLength(head);
    const bin = this.#binLength(head);
    if (text !== undefined) out.string(this.#bytes, this.#pass(text), this.#at);
    else if (bin !== undefined) out.hex(this.#bytes, this.#pass(bin), this.#at);
    else if (head >= 0x90 && head <= 0x9f) this.#listInto(out, head & 15, depth);
    else if (head >= 0x80 && head <= 0x8f) this.#mapInto(out, head & 15, depth);
    else if (head === 0xdc || head === 0xdd) this.#listInto(out, this.#number(head === 0xdc ? 2 : 4), depth);
    else if (head === 0xde || head === 0xdf) this.#mapInto(out, this.#number(head === 0xde ? 2 : 4), depth);
    else out.ascii(this.#scalar(head));
  }

  #listInto(out: JsonOut, items: number, depth: number): void {
    if (items > this.#bytes.length - this.#at) throw new MsgpackError("it ends early");
    out.byte(91);
    for (let i = 0; i < items; i++) {
      if (i > 0) out.byte(44);
      this.jsonInto(out, depth + 1);
    }
    out.byte(93);
  }

  #mapInto(out: JsonOut, members: number, depth: number): void {
    if (members > this.#bytes.length - this.#at) throw new MsgpackError("it ends early");
    out.byte(123);
    for (let i = 0; i < members; i++) {
      if (i > 0) out.byte(44);
      this.textInto(out);
      out.byte(58);
      this.jsonInto(out, depth + 1);
    }
    out.byte(125);
  }

  #scalar(head: number): string {
    if (head <= 0x7f) return String(head);
    if (head >= 0xe0) return String(head - 256);
    switch (head) {
      case 0xc0:
        return "null";
      case 0xc2:
        return "false";
      case 0xc3:
        return "true";
      case 0xca:
        return JSON.stringify(this.#bytes.readFloatBE(this.#pass(4)));
      case 0xcb:
        return JSON.stringify(this.#bytes.readDoubleBE(this.#pass(8)));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return String(this.#number(2 ** (head - 0xcc)));
      case 0xcf: {
        const at = this.#pass(8);
        const high = this.#bytes.readUInt32BE(at);
        // Exact in a double: times are.
        if (high < 2 ** 21) return String(high * 2 ** 32 + this.#bytes.readUInt32BE(at + 4));
        return this.#bytes.readBigUInt64BE(at).toString();
      }
      case 0xd0:
      case 0xd1:
      case 0xd2: {
        const length = 2 ** (head - 0xd0);
        return String(this.#bytes.readIntBE(this.#pass(length), length));
      }
      case 0xd3:
        return this.#bytes.readBigInt64BE(this.#pass(8)).toString();
      default:
        // Extensions: no index has them.
        throw new MsgpackError("a value that JSON does not have");
    }
  }

  #skipMany(count: number, depth: number): void {
    if (count > this.#bytes.length - this.#at) throw new MsgpackError("it ends early");
    for (let i = 0; i < count; i++) this.skip(depth + 1);
  }
  #textLength(head: number): number | undefined {
    if (head >= 0xa0 && head <= 0xbf) return head & 31;
    return head >= 0xd9 && head <= 0xdb ? this.#number(2 ** (head - 0xd9)) : undefined;
  }
  #binLength(head: number): number | undefined {
    return head >= 0xc4 && head <= 0xc6 ? this.#number(2 ** (head - 0xc4)) : undefined;
  }
  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new MsgpackError("it ends early");
    return byte;
  }
  #number(bytes: number): number {
    let at = this.#pass(bytes);
    let n = 0;
    while (at < this.#at) n = n * 256 + (this.#bytes[at++] as number);
    return n;
  }
  #take(length: number): Buffer {
    const at = this.#pass(length);
    return this.#bytes.subarray(at, this.#at);
  }
  /** Passes over bytes that have to be there; gives where they begin. */
  #pass(length: number): number {
    if (length > this.#bytes.length - this.#at) throw new MsgpackError("it ends early");
    this.#at += length;
    return this.#at - length;
  }
}
