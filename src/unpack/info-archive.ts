import { closeSync, fstatSync, openSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { END, paddingOf, tarHeader } from "../codec/tar-header.ts";
import { PackageError } from "../errors.ts";
import { LIMITS } from "../package/limits.ts";
import { readAtFile } from "../package/read-at.ts";
import { readMembers } from "./archives.ts";
import { UNPACK_LIMITS } from "./limits.ts";
import { Meter, type Stop } from "./meter.ts";

/** What a package says of itself, apart from its files. */
export interface InfoArchive {
  /** The files of `info/` as a `.tar.gz`, named from there: "index.json", "recipe/meta.yaml". The same package gives the same bytes. */
  readonly archive: Uint8Array;
  /** `info/index.json`. */
  readonly index: Uint8Array;
}

/**
 * Takes `info/` out of a package: of a `.conda` only its info archive is read. Meant for worker threads.
 * @throws PackageError
 */
export async function infoArchive(path: string, fileName: string, stop?: Stop): Promise<InfoArchive> {
  const fd = openSync(path, "r");
  try {
    const { size } = fstatSync(fd);
    const files = new Map<string, Buffer>();
    let kept = 0;
    await readMembers(
      readAtFile(fd, size, fileName),
      fileName,
      ({ kind, name, size: bytes }) => {
        if (kind !== "file" || !name.startsWith("info/")) return undefined;
        kept += bytes;
        if (kept > LIMITS.infoBytes) {
          throw new PackageError("TOO_LARGE", {
            what: fileName,
            why: `its info/ has more than ${LIMITS.infoBytes} bytes`,
            next: "leave it out",
          });
        }
        const content = Buffer.alloc(bytes);
        let at = 0;
        return {
          chunk(portion) {
            content.set(portion, at);
            at += portion.length;
          },
          end: () => void files.set(name.slice("info/".length), content),
        };
      },
      new Meter(fileName, size, UNPACK_LIMITS, stop),
      ["info-"],
    );
    const parts: Buffer[] = [];
    for (const [name, content] of [...files].sort(([a], [b]) => (a < b ? -1 : 1)))
      parts.push(tarHeader(name, content.length), content, Buffer.alloc(paddingOf(content.length)));
    return { archive: gzipSync(Buffer.concat([...parts, END])), index: files.get("index.json") ?? Buffer.alloc(0) };
  } finally {
    closeSync(fd);
  }
}
