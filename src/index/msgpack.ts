import { JsonBytesError, skipSpace, skipString } from "../conda/json-bytes.ts";

/**
 * JSON bytes as msgpack, without objects in between: a shard's records are what the index says, number for number.
 * Whole numbers stay whole (rattler refuses a timestamp that became a float), text is copied as it stands.
 */
export class MsgpackWriter {
  #bytes = Buffer.allocUnsafe(16 * 1024);
  #at = 0;

  /** What was written. It is written over by what comes next. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#at);
    this.#at = 0;
    return taken;
  }
  map(members: number): void {
    this.#head(members, 0x80, 15, 0, 0xde);
  }
  array(items: number): void {
    this.#head(items, 0x90, 15, 0, 0xdc);
  }
  text(text: string): void {
    this.#text(Buffer.from(text));
  }
  raw(bytes: Uint8Array): void {
    this.#head(bytes.length, 0, -1, 0xc4, 0xc5);
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /**
   * Writes a record: a JSON object. Members in `hashes` whose value is hex become raw bytes (CEP 16).
   * @param extra one more member for its end, as JSON, unless the record has a member of that name.
   */
  record(json: Uint8Array, hashes: readonly string[], extra?: { key: string; json: Uint8Array }): void {
    let has = false;
    const head = this.#openMap();
    let members = 0;
    let i = skipSpace(json, skipSpace(json, 0) + 1);
    while (json[i] !== 125) {
      if (json[i] === 44) i = skipSpace(json, i + 1);
      const keyEnd = skipString(json, i);
      const keyStart = i;
      const escaped = this.#string(json, keyStart, keyEnd);
      const key = escaped ? textOf(json, keyStart, keyEnd).toString("utf8") : undefined;
      const isKey = (text: string) => (key === undefined ? spells(json, keyStart, keyEnd, text) : key === text);
      i = skipSpace(json, skipSpace(json, keyEnd) + 1);
      if (extra && isKey(extra.key)) has = true;
      if (json[i] === 34 && hashes.some(isKey)) {
        const end = skipString(json, i);
        const hex = Buffer.from(json.buffer, json.byteOffset + i + 1, end - i - 2).toString("latin1");
        if (hex.length % 2 === 0 && /^[0-9a-fA-F]+$/.test(hex)) this.raw(Buffer.from(hex, "hex"));
        else this.#string(json, i, end);
        i = end;
      } else i = this.value(json, i, 1);
      members++;
      i = skipSpace(json, i);
    }
    if (extra && !has) {
      this.text(extra.key);
      this.value(extra.json, skipSpace(extra.json, 0), 1);
      members++;
    }
    this.#closeMap(head, members);
  }

  /** Writes the JSON value at `at`, which must be valid; gives the offset behind it. */
  value(json: Uint8Array, at: number, depth = 0): number {
    const c = json[at] as number;
    if (c === 34) {
      const end = skipString(json, at);
      this.#string(json, at, end);
      return end;
    }
    if (c === 123 || c === 91) {
      if (depth > 64) throw new JsonBytesError("nested too deep", at);
      const head = this.#openMap();
      let items = 0;
      let i = skipSpace(json, at + 1);
      while (json[i] !== c + 2) {
        if (json[i] === 44) i = skipSpace(json, i + 1);
        if (c === 123) {
          const keyEnd = skipString(json, i);
          this.#string(json, i, keyEnd);
          i = skipSpace(json, skipSpace(json, keyEnd) + 1);
        }
        i = skipSpace(json, this.value(json, i, depth + 1));
        items++;
      }
      this.#closeMap(head, items, c === 91);
      return i + 1;
    }
    let end = at;
    while (end < json.length && !isEnd(json[end] as number)) end++;
    const literal = Buffer.from(json.buffer, json.byteOffset + at, end - at).toString("latin1");
    if (literal === "null") this.#byte(0xc0);
    else if (literal === "true") this.#byte(0xc3);
    else if (literal === "false") this.#byte(0xc2);
    else this.#number(literal);
    return end;
  }

  #number(literal: string): void {
    const number = Number(literal);
    const whole = /^-?\d+$/.test(literal);
    if (whole && Number.isSafeInteger(number)) this.#integer(number);
    else if (!whole || !this.#bigInteger(BigInt(literal))) this.#float(number);
  }
  /** Writes what fits into 64 bits; false where it doesn't. */
  #bigInteger(big: bigint): boolean {
    this.#room(9);
    if (big >= 0n && big < 2n ** 64n) {
      this.#bytes[this.#at] = 0xcf;
      this.#bytes.writeBigUInt64BE(big, this.#at + 1);
    } else if (big < 0n && big >= -(2n ** 63n)) {
      this.#bytes[this.#at] = 0xd3;
      this.#bytes.writeBigInt64BE(big, this.#at + 1);
    } else return false;
    this.#at += 9;
    return true;
  }
  #float(number: number): void {
    this.#room(9);
    this.#bytes[this.#at] = 0xcb;
    this.#bytes.writeDoubleBE(number, this.#at + 1);
    this.#at += 9;
  }
  #integer(n: number): void {
    this.#room(9);
    const { length } = this.#bytes;
    if (n >= 0) {
      if (n < 128) this.#at = this.#bytes.writeUInt8(n, this.#at);
      else if (n < 256) this.#at = this.#bytes.writeUInt8(n, this.#bytes.writeUInt8(0xcc, this.#at));
      else if (n < 65536) this.#at = this.#bytes.writeUInt16BE(n, this.#bytes.writeUInt8(0xcd, this.#at));
      else if (n < 2 ** 32) this.#at = this.#bytes.writeUInt32BE(n, this.#bytes.writeUInt8(0xce, this.#at));
      else this.#at = this.#bytes.writeBigUInt64BE(BigInt(n), this.#bytes.writeUInt8(0xcf, this.#at));
    } else if (n >= -32) this.#at = this.#bytes.writeInt8(n, this.#at);
    else this.#at = this.#bytes.writeBigInt64BE(BigInt(n), this.#bytes.writeUInt8(0xd3, this.#at));
    if (this.#at > length) throw new RangeError("msgpack buffer overrun");
  }
  /**
   * The JSON string at a span, quotes included. Short ones, nearly all, are copied byte by byte: a view on each took half
   * of the time that a shard takes. Gives whether there may be escapes in it.
   */
  #string(json: Uint8Array, start: number, end: number): boolean {
    const n = end - start - 2;
    if (n > SHORT) {
      this.#text(textOf(json, start, end));
      return true;
    }
    const head = this.#at;
    this.#room(n + 2);
    const bytes = this.#bytes;
    let at = head;
    if (n < 32) bytes[at++] = 0xa0 | n;
    else {
      bytes[at++] = 0xd9;
      bytes[at++] = n;
    }
    for (let i = start + 1; i < end - 1; i++) {
      const c = json[i] as number;
      if (c === 92) {
        this.#text(textOf(json, start, end));
        return true;
      }
      bytes[at++] = c;
    }
    this.#at = at;
    return false;
  }
  #text(bytes: Uint8Array): void {
    const n = bytes.length;
    if (n < 32) this.#byte(0xa0 | n);
    else this.#head(n, 0, -1, 0xd9, 0xda);
    this.#room(n);
    this.#bytes.set(bytes, this.#at);
    this.#at += n;
  }
  /** A head with a count: in the byte itself up to `most`, else in one byte (where `one` is not 0), two or four. */
  #head(count: number, fix: number, most: number, one: number, two: number): void {
    this.#room(5);
    if (count <= most) this.#bytes[this.#at++] = fix | count;
    else if (one !== 0 && count < 256) {
      this.#bytes[this.#at++] = one;
      this.#bytes[this.#at++] = count;
    } else if (count < 65536) this.#at = this.#bytes.writeUInt16BE(count, this.#bytes.writeUInt8(two, this.#at));
    else this.#at = this.#bytes.writeUInt32BE(count, this.#bytes.writeUInt8(two + 1, this.#at));
  }
  /** Leaves one byte for a container's head; `#closeMap` makes more room where the count needs it. */
  #openMap(): number {
    this.#room(1);
    return this.#at++;
  }
  #closeMap(head: number, count: number, list = false): void {
    if (count <= 15) {
      this.#bytes[head] = (list ? 0x90 : 0x80) | count;
      return;
    }
    const wide = count < 65536 ? 2 : 4;
    this.#room(wide);
    this.#bytes.copyWithin(head + 1 + wide, head + 1, this.#at);
    this.#at += wide;
    this.#bytes[head] = (list ? 0xdc : 0xde) + (wide === 4 ? 1 : 0);
    if (wide === 2) this.#bytes.writeUInt16BE(count, head + 1);
    else this.#bytes.writeUInt32BE(count, head + 1);
  }
  #byte(b: number): void {
    this.#room(1);
    this.#bytes[this.#at++] = b;
  }
  #room(n: number): void {
    if (this.#at + n <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + n));
    grown.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = grown;
  }
}

const SHORT = 100;

/** Whether the JSON string at a span, quotes included and without escapes, is a text of ASCII. */
function spells(json: Uint8Array, start: number, end: number, text: string): boolean {
  if (end - start - 2 !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (json[start + 1 + i] !== text.charCodeAt(i)) return false;
  return true;
}

function isEnd(c: number): boolean {
  return c === 44 || c === 93 || c === 125 || c <= 32;
}

/** The bytes of the JSON string at a span, quotes included, as the UTF-8 they stand for. */
function textOf(json: Uint8Array, start: number, end: number): Buffer {
  const text = Buffer.from(json.buffer, json.byteOffset + start + 1, end - start - 2);
  return text.includes(92) ? Buffer.from(JSON.parse(`"${text.toString("utf8")}"`) as string) : text;
}
