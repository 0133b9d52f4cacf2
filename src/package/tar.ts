import { PackageError } from "../errors.ts";
import { LIMITS } from "./limits.ts";

/** What the reader of a tar wants: the content of the members it names, and nothing of the others. */
export interface TarWants {
  /** Called with each member's normalised name and size in bytes, whatever its kind, before its body. True ends the reading. */
  ends?(name: string, size: number): boolean;
  /** Called once for each member with its normalised name; true to collect the content. */
  wants(name: string): boolean;
  /** Most bytes of a collected member; `LIMITS.memberBytes` when not given. */
  readonly memberBytes?: number;
  /** Called with each collected member. True ends the reading. */
  collected(name: string, content: Uint8Array): boolean;
  /** Called with every member instead of `wants`, for whoever takes whole trees; gives who takes a file's content. */
  member?(member: TarMember): TarBody | undefined;
}

/** One member, whatever it is. */
export interface TarMember {
  readonly kind: "file" | "hardlink" | "symlink" | "folder";
  /** Normalised and safe; empty for the archive's own folder. */
  readonly name: string;
  /** Where a link points to, as it stands. */
  readonly link: string;
  /** Bytes of its content; 0 for all but files. */
  readonly size: number;
  /** Permission bits, those for set-user-ID and the like among them. */
  readonly mode: number;
  /** Seconds since 1970. */
  readonly mtime: number;
}

/** Who takes a file's content, portion by portion. A portion is valid during the call only. */
export interface TarBody {
  chunk(bytes: Uint8Array): void;
  end(): void;
}

const BLOCK = 512;
const KINDS: Readonly<Record<string, TarMember["kind"]>> = { "1": "hardlink", "2": "symlink", "5": "folder" };
const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * A tar read as it comes: push decoded bytes in any portions, until `push` gives true or `end` is called.
 * Reads ustar, pax (`path`, `size`, `linkpath`) and GNU long names; sizes in octal and base-256.
 * Names are normalised ("./info/x" is "info/x": CEP 35's own example writes them so) and refused when they could
 * leave the folder. Devices and fifos are refused: rattler makes empty files of them.
 * @throws PackageError BAD_MEMBER, TOO_LARGE or DAMAGED.
 */
export class TarReader {
  readonly #what: string;
  readonly #wants: TarWants;
  #header = Buffer.alloc(BLOCK);
  #headerFill = 0;
  #remaining = 0;
  #padding = 0;
  #keep: { name: string; bytes: Buffer; fill: number } | undefined;
  #meta: { type: "pax" | "longname" | "longlink"; bytes: Buffer; fill: number } | undefined;
  #nextName: string | undefined;
  #nextLink: string | undefined;
  #nextSize: number | undefined;
  #taker: TarBody | undefined;
  #members = 0;
  #zeroBlocks = 0;
  #done = false;

  constructor(what: string, wants: TarWants) {
    this.#what = what;
    this.#wants = wants;
  }

  /** Takes the next bytes. True: all that was wanted has been read, or the tar has ended; push no more. */
  push(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length && !this.#done) {
      if (this.#remaining > 0) at = this.#body(chunk, at);
      else if (this.#padding > 0) {
        const n = Math.min(this.#padding, chunk.length - at);
        this.#padding -= n;
        at += n;
      } else {
        const n = Math.min(BLOCK - this.#headerFill, chunk.length - at);
        this.#header.set(chunk.subarray(at, at + n), this.#headerFill);
        this.#headerFill += n;
        at += n;
        if (this.#headerFill === BLOCK) {
          this.#headerFill = 0;
          this.#member();
        }
      }
    }
    return this.#done;
  }

  /** The input has ended. @throws PackageError DAMAGED when a member is incomplete. */
  end(): void {
    if (!this.#done && (this.#remaining > 0 || this.#headerFill > 0))
      throw this.#damaged("its tar ends in the middle of a member");
  }

  #body(chunk: Uint8Array, at: number): number {
    const n = Math.min(this.#remaining, chunk.length - at);
    const into = this.#keep ?? this.#meta;
    if (this.#taker) this.#taker.chunk(chunk.subarray(at, at + n));
    else if (into) {
      into.bytes.set(chunk.subarray(at, at + n), into.fill);
      into.fill += n;
    }
    this.#remaining -= n;
    if (this.#remaining === 0) this.#finished();
    return at + n;
  }

  #finished(): void {
    if (this.#taker) {
      const taker = this.#taker;
      this.#taker = undefined;
      taker.end();
    } else if (this.#keep) {
      const { name, bytes } = this.#keep;
      this.#keep = undefined;
      if (this.#wants.collected(name, bytes)) this.#done = true;
    } else if (this.#meta) {
      const { type, bytes } = this.#meta;
      this.#meta = undefined;
      if (type === "pax") this.#pax(bytes);
      else if (type === "longname") this.#nextName = this.#text(untilNul(bytes));
      else this.#nextLink = this.#text(untilNul(bytes));
    }
  }

  #member(): void {
    const header = this.#header;
    if (header[0] === 0 && isZero(header)) {
      if (++this.#zeroBlocks === 2) this.#done = true;
      return;
    }
    this.#zeroBlocks = 0;
    if (!checksumAgrees(header))
      throw this.#damaged(this.#members === 0 ? "what it holds is no tar" : "a tar header fails its checksum");
    if (++this.#members > LIMITS.members) throw this.#tooLarge(`its tar has more than ${LIMITS.members} members`);
    const type = String.fromCharCode(header[156] as number);
    const size = numberField(header, 124, 12);
    if (!Number.isSafeInteger(size) || size < 0) throw this.#damaged("a tar member has an impossible size");

    if (type === "x" || type === "L" || type === "K") {
      if (size > 1024 * 1024) throw this.#tooLarge("a tar member's extended header is larger than 1 MiB");
      this.#meta = {
        type: type === "x" ? "pax" : type === "L" ? "longname" : "longlink",
        bytes: Buffer.alloc(size),
        fill: 0,
      };
      this.#skip(size);
      return;
    }
    if (type === "g") {
      this.#skip(size);
      return;
    }

    const name = this.#name(header);
    const bodySize = this.#nextSize ?? size;
    const link = this.#nextLink;
    this.#nextName = this.#nextLink = this.#nextSize = undefined;
    if (link !== undefined && link.length > LIMITS.nameBytes) throw this.#tooLarge("a link's target is too long");
    if (this.#wants.member) {
      this.#handOver(type, name, link, bodySize);
      return;
    }
    if (this.#wants.ends?.(name, bodySize)) {
      this.#done = true;
      return;
    }
    switch (type) {
      case "1":
      case "2":
      case "5":
        // Links and folders have no body, whatever their size field says (Python's tarfile reads them so).
        this.#skip(0);
        return;
      case "3":
      case "4":
      case "6":
        throw this.#bad(`its member ${name} is a device or a pipe`);
      case "S":
        // How much of a sparse file is there its size does not tell; nothing that is wanted is one.
        if (this.#wants.wants(name)) throw this.#sparse(name);
        this.#skip(bodySize);
        return;
      // Unknown kinds are treated as files, as POSIX asks.
      default: {
        if (name !== "" && this.#wants.wants(name)) {
          const limit = this.#wants.memberBytes ?? LIMITS.memberBytes;
          if (bodySize > limit) throw this.#tooLarge(`its member ${name} has ${bodySize} bytes, ${limit} are allowed`);
          this.#keep = { name, bytes: Buffer.alloc(bodySize), fill: 0 };
          if (bodySize === 0) this.#finished();
        }
        this.#skip(bodySize);
      }
    }
  }

  /** A member for whoever takes all of them. */
  #handOver(type: string, name: string, link: string | undefined, size: number): void {
    const header = this.#header;
    if (type === "3" || type === "4" || type === "6") throw this.#bad(`its member ${name} is a device or a pipe`);
    if (type === "S") throw this.#sparse(name);
    // Before ustar a folder was a file whose name ends in a slash.
    const old = header.toString("latin1", 257, 262) !== "ustar";
    const slash = header[untilNul(header.subarray(0, 100)).length - 1] === 47;
    const kind = KINDS[type] ?? (old && slash ? "folder" : "file");
    const stated = numberField(header, 136, 12);
    const bytes = kind === "file" ? size : 0;
    this.#taker = this.#wants.member?.({
      kind,
      name,
      link: kind === "file" || kind === "folder" ? "" : (link ?? this.#text(untilNul(header.subarray(157, 257)))),
      size: bytes,
      mode: numberField(header, 100, 8) & 0o7777,
      mtime: Number.isFinite(stated) ? stated : 0,
    });
    // Links and folders have no body, whatever their size field says.
    this.#skip(bytes);
    if (bytes === 0) this.#finished();
  }

  #skip(size: number): void {
    this.#remaining = size;
    this.#padding = (BLOCK - (size % BLOCK)) % BLOCK;
    if (size === 0 && this.#meta) this.#finished();
  }

  #name(header: Buffer): string {
    let name = this.#nextName;
    if (name === undefined) {
      name = this.#text(untilNul(header.subarray(0, 100)));
      if (header[345] !== 0 && header.toString("latin1", 257, 262) === "ustar" && header[263] !== 32)
        name = `${this.#text(untilNul(header.subarray(345, 500)))}/${name}`;
    }
    if (Buffer.byteLength(name) > LIMITS.nameBytes) throw this.#tooLarge("a member's name is too long");
    return safeMemberName(name, this.#what);
  }

  #pax(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const space = bytes.indexOf(32, at);
      const length = space < 0 ? Number.NaN : Number(bytes.toString("latin1", at, space));
      if (!Number.isSafeInteger(length) || length < 3 || at + length > bytes.length)
        throw this.#damaged("a pax header is malformed");
      const equals = bytes.indexOf(61, space);
      if (equals < 0 || equals >= at + length) throw this.#damaged("a pax header is malformed");
      const key = bytes.toString("latin1", space + 1, equals);
      const value = bytes.subarray(equals + 1, at + length - 1);
      if (key === "path") this.#nextName = this.#text(value);
      else if (key === "linkpath") this.#nextLink = this.#text(value);
      else if (key === "size") {
        this.#nextSize = Number(value.toString("latin1"));
        if (!Number.isSafeInteger(this.#nextSize) || this.#nextSize < 0)
          throw this.#damaged("a pax size is impossible");
      }
      at += length;
    }
  }

  #text(bytes: Uint8Array): string {
    const plain = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
    if (ASCII.test(plain)) return plain;
    try {
      return utf8.decode(bytes);
    } catch {
      // Old packages hold Latin-1 names of files nobody needs here.
      return plain;
    }
  }

  #damaged(why: string): PackageError {
    return new PackageError("DAMAGED", { what: this.#what, why, next: "fetch it again, or tell whoever made it" });
  }
  #tooLarge(why: string): PackageError {
    return new PackageError("TOO_LARGE", { what: this.#what, why, next: "leave it out" });
  }
  #sparse(name: string): PackageError {
    return this.#bad(`its member ${name} is stored sparse, as GNU tar does: readers would not agree on its content`);
  }
  #bad(why: string): PackageError {
    return new PackageError("BAD_MEMBER", {
      what: this.#what,
      why,
      next: "the package is hostile or broken; leave it out",
    });
  }
}

/**
 * The member's name without "./" and doubled slashes.
 * @throws PackageError BAD_MEMBER for names that could leave the folder: absolute, with "..", a drive or a NUL.
 */
export function safeMemberName(name: string, what: string): string {
  // Nearly all names are plain paths; what could be anything else is taken apart.
  if (PLAIN.test(name) && !name.includes("..")) return name;
  const bad =
    name.startsWith("/") ||
    name.startsWith("\\") ||
    name.includes("\0") ||
    /^[A-Za-z]:[\\/]/.test(name) ||
    name.split(/[\\/]/).includes("..");
  if (bad) {
    throw new PackageError("BAD_MEMBER", {
      what,
      why: `its member ${JSON.stringify(name)} would be written outside the package's folder`,
      next: "the package is hostile or broken; leave it out",
    });
  }
  return name
    .split("/")
    .filter((p) => p !== "" && p !== ".")
    .join("/");
}

const ASCII = /^[ -~]*$/;
const PLAIN = /^[A-Za-z0-9_][\w.+@-]*(?:\/[\w+@-][\w.+@-]*)*$/;

function untilNul(bytes: Uint8Array): Uint8Array {
  const nul = bytes.indexOf(0);
  return nul < 0 ? bytes : bytes.subarray(0, nul);
}

function isZero(header: Buffer): boolean {
  for (let i = 0; i < BLOCK; i++) if (header[i] !== 0) return false;
  return true;
}

function checksumAgrees(header: Buffer): boolean {
  let unsigned = 8 * 32;
  let high = 0;
  for (let i = 0; i < BLOCK; i++) {
    if (i === 148) i = 156;
    const b = header[i] as number;
    unsigned += b;
    high += b & 128;
  }
  // Some old writers added the bytes as signed numbers.
  const signed = unsigned - high * 2;
  const stated = numberField(header, 148, 8);
  return stated === unsigned || stated === signed;
}

/** A number of a tar header: octal text, or base-256 where the first bit is set; below 0 where the second is set too. */
function numberField(header: Buffer, at: number, length: number): number {
  const first = header[at] as number;
  if (first & 0x80) {
    const flip = first & 0x40 ? 0xff : 0;
    let value = (first ^ flip) & 0x7f;
    for (let i = at + 1; i < at + length; i++) value = value * 256 + ((header[i] as number) ^ flip);
    return flip ? -value - 1 : value;
  }
  const nul = header.indexOf(0, at);
  const text = header.toString("latin1", at, nul < 0 || nul > at + length ? at + length : nul).trim();
  return text === "" ? 0 : /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number.NaN;
}
