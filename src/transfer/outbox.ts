/** One end of a channel between threads. */
interface Port {
  postMessage(message: unknown, transfer: readonly ArrayBuffer[]): void;
}

/**
 * Sends messages in batches: all that one turn of the event loop has to say at its end, in one array. Each message that
 * wakes a thread costs both sides far more than its content does.
 */
export class Outbox<T> {
  readonly #port: Port;
  #messages: T[] = [];
  #transfer: ArrayBuffer[] = [];

  constructor(port: Port) {
    this.#port = port;
  }

  /** @param buffer is handed over, not copied. */
  post(message: T, buffer?: ArrayBuffer): void {
    if (this.#messages.length === 0) setImmediate(() => this.#send());
    this.#messages.push(message);
    if (buffer) this.#transfer.push(buffer);
  }

  #send(): void {
    const [messages, transfer] = [this.#messages, this.#transfer];
    this.#messages = [];
    this.#transfer = [];
    this.#port.postMessage(messages, transfer);
  }
}
