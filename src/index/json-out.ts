/** JSON as bytes that grow: what was written last can be looked at, and taken back. */
export class JsonOut {
  #bytes: Buffer;
  /** Bytes that are written. */
  at = 0;

  /** @param size bytes that there is room for at first. */
  constructor(size = 64 * 1024) {
    this.#bytes = Buffer.allocUnsafeSlow(size);
  }

  /** What was written, from an offset on; it shares the memory, and is written over by what comes next. */
  written(from = 0, to = this.at): Buffer {
    return this.#bytes.subarray(from, to);
  }

  byte(c: number): void {
    this.#room(1);
    this.#bytes[this.at++] = c;
  }

  /** Text as it stands, without quotes. */
  text(text: string): void {
    this.#room(text.length * 3);
    this.at += this.#bytes.write(text, this.at);
  }

  /** The same of ASCII, for short ones: a call into node for each number took a tenth of the time that a shard takes. */
  ascii(text: string): void {
    this.#room(text.length);
    for (let i = 0; i < text.length; i++) this.#bytes[this.at++] = text.charCodeAt(i);
  }

  /** A JSON string of UTF-8 bytes. Plain ASCII, which nearly all is, is copied byte by byte. */
  string(from: Uint8Array, start: number, end: number): void {
    this.#room(end - start + 2);
    const bytes = this.#bytes;
    let at = this.at;
    bytes[at++] = QUOTE;
    for (let i = start; i < end; i++) {
      const c = from[i] as number;
      if (c < 32 || c === QUOTE || c === BACKSLASH || c > 126) {
        // What is no UTF-8 becomes U+FFFD here.
        this.text(JSON.stringify(Buffer.from(from.buffer, from.byteOffset + start, end - start).toString("utf8")));
        return;
      }
      bytes[at++] = c;
    }
    bytes[at++] = QUOTE;
    this.at = at;
  }

  /** A JSON string of bytes in lower hex. */
  hex(from: Uint8Array, start: number, end: number): void {
    this.#room((end - start) * 2 + 2);
    const bytes = this.#bytes;
    let at = this.at;
    bytes[at++] = QUOTE;
    for (let i = start; i < end; i++) {
      const c = from[i] as number;
      bytes[at++] = HEX[c >> 4] as number;
      bytes[at++] = HEX[c & 15] as number;
    }
    bytes[at++] = QUOTE;
    this.at = at;
  }

  /** Whether what was written in a span is this ASCII text. */
  spells(start: number, end: number, text: string): boolean {
    if (end - start !== text.length) return false;
    for (let i = 0; i < text.length; i++) if (this.#bytes[start + i] !== text.charCodeAt(i)) return false;
    return true;
  }

  #room(n: number): void {
    if (this.at + n <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.at + n));
    grown.set(this.#bytes.subarray(0, this.at));
    this.#bytes = grown;
  }
}

const QUOTE = 34;
const BACKSLASH = 92;
const HEX = Buffer.from("0123456789abcdef");
