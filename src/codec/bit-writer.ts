/** Writes numbers of some bits, the highest first, into a buffer that grows. */
export class BitWriter {
  bytes = new Uint8Array(64 * 1024);
  /** Whole bytes that are written. */
  length = 0;
  /** Bits that make no byte yet, fewer than 8, and their number. */
  held = 0;
  have = 0;

  /** @param count 0 to 24 */
  put(value: number, count: number): void {
    this.reserve(4);
    this.held = (this.held << count) | value;
    this.have += count;
    while (this.have >= 8) {
      this.have -= 8;
      this.bytes[this.length++] = this.held >>> this.have;
    }
  }

  /** Fills the last byte with zeros. */
  close(): void {
    if (this.have > 0) this.put(0, 8 - this.have);
  }

  /** Makes room for so many bytes. */
  reserve(bytes: number): void {
    if (this.length + bytes <= this.bytes.length) return;
    const larger = new Uint8Array(2 * (this.bytes.length + bytes));
    larger.set(this.bytes);
    this.bytes = larger;
  }

  /** Takes out the whole bytes. */
  take(): Uint8Array {
    const taken = this.bytes.slice(0, this.length);
    this.length = 0;
    return taken;
  }
}
