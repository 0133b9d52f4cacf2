import type { ZstdCompress, ZstdDecompress } from "node:zlib";

/** One of zstd's contexts, for one frame after another. */
export interface ReusableZstd {
  /**
   * Takes `input` to its end, into `output`: how much of both was used, or undefined when zstd found a fault or node's
   * objects are others than we know. Unless the caller finds a whole frame in that, it must `forget`.
   */
  run(input: Uint8Array, output: Uint8Array): { readonly read: number; readonly written: number } | undefined;
  /** Begins with a new context: this one is amid something. */
  forget(): void;
}

/** What node's stream lies on. Undocumented: whoever uses it does without where it is not found like this. */
interface Insides {
  readonly _handle: {
    onerror: (message: string) => void;
    writeSync(
      flush: number,
      input: Uint8Array,
      inputAt: number,
      inputLength: number,
      output: Uint8Array,
      outputAt: number,
      outputLength: number,
    ): void;
  };
  /** Bytes left: of the output, of the input. */
  readonly _writeState: Uint32Array;
}

/**
 * Node's public calls make a stream and a context for each frame, which takes 15 µs where a small frame itself takes 2 to 4
 * (docs/decisions/041). Its streams can't be used synchronously, their insides can.
 * @param open makes the stream; called when there is something to do, and again after `forget`.
 * @param flush what zstd is told with each input: to end the frame, or just to go on.
 */
export function reusableZstd(open: () => ZstdCompress | ZstdDecompress, flush: number): ReusableZstd {
  let insides: Insides | undefined;
  let failed = false;
  let unknown = false;
  return {
    run(input, output) {
      if (unknown) return undefined;
      if (!insides) {
        const opened: unknown = open();
        if (!isKnown(opened)) {
          unknown = true;
          return undefined;
        }
        insides = opened;
        insides._handle.onerror = () => {
          failed = true;
        };
      }
      const { _handle, _writeState } = insides;
      failed = false;
      _handle.writeSync(flush, input, 0, input.length, output, 0, output.length);
      if (failed) return undefined;
      const [outputLeft, inputLeft] = _writeState as unknown as [number, number];
      return { read: input.length - inputLeft, written: output.length - outputLeft };
    },
    forget() {
      insides = undefined;
    },
  };
}

function isKnown(stream: unknown): stream is Insides {
  const { _handle, _writeState } = stream as Partial<Insides>;
  return typeof _handle?.writeSync === "function" && _writeState instanceof Uint32Array && _writeState.length === 2;
}
