import { randomBytes } from "node:crypto";
import { open } from "node:fs/promises";
import type { Body } from "./api.ts";

/** What is read of a file at a time. */
const READ_BYTES = 256 * 1024;

/** One part of a form (RFC 7578). */
export interface FormPart {
  readonly name: string;
  readonly fileName?: string;
  /** Further headers, in this order. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly value: string | Body;
}

/** A form as the body of a request, streamed: what its parts hold is read when it is sent. */
export function multipart(parts: readonly FormPart[]): { readonly contentType: string; readonly body: Body } {
  const boundary = `----meso-forge-mirror-${randomBytes(16).toString("hex")}`;
  const pieces: Body[] = [];
  for (const { name, fileName, headers, value } of parts) {
    const file = fileName === undefined ? "" : `; filename="${quoted(fileName)}"`;
    let head = `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(name)}"${file}\r\n`;
    for (const [header, text] of Object.entries(headers ?? {})) head += `${header}: ${text}\r\n`;
    pieces.push(textBody(`${head}\r\n`), typeof value === "string" ? textBody(value) : value, textBody("\r\n"));
  }
  pieces.push(textBody(`--${boundary}--\r\n`));
  return {
    contentType: `multipart/form-data; boundary=${boundary}`,
    body: {
      size: pieces.reduce((sum, piece) => sum + piece.size, 0),
      async *open() {
        for (const piece of pieces) yield* piece.open();
      },
    },
  };
}

/** A file of this machine as a body, or the bytes of it from `start` up to `end`. @param size bytes of the file */
export function fileBody(path: string, size: number, start = 0, end = size): Body {
  return {
    size: end - start,
    async *open() {
      const file = await open(path, "r");
      try {
        for (let at = start; at < end; ) {
          // Fresh each time: what was handed to a socket may not be written over.
          const room = Buffer.allocUnsafe(Math.min(READ_BYTES, end - at));
          const { bytesRead } = await file.read(room, 0, room.length, at);
          if (bytesRead === 0) return;
          at += bytesRead;
          yield room.subarray(0, bytesRead);
        }
      } finally {
        await file.close();
      }
    },
  };
}

function textBody(text: string): Body {
  const bytes = Buffer.from(text);
  return {
    size: bytes.length,
    async *open() {
      yield bytes;
    },
  };
}

/** As browsers escape it (WHATWG HTML, multipart/form-data): nothing ends the quotes or the line. */
function quoted(text: string): string {
  return text.replace(/\r/g, "%0D").replace(/\n/g, "%0A").replace(/"/g, "%22");
}
