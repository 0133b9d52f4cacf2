import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { crc32, deflateRawSync, zstdCompressSync } from "node:zlib";

/** A member of a tar, as a test wants it: well-formed or not. */
export interface TarEntry {
  readonly name: string;
  readonly content?: Uint8Array | string;
  /** "0" file, "1" hard link, "2" symbolic link, "3" device, "5" folder, "6" pipe, "x" pax, "L" GNU long name. */
  readonly type?: string;
  readonly link?: string;
  /** Writes another size into the header than the content has. */
  readonly statedSize?: number;
  /** Writes the size in base-256. */
  readonly base256?: boolean;
  readonly badChecksum?: boolean;
  /** Permission bits; default 644. */
  readonly mode?: number;
  /** Seconds since 1970. */
  readonly mtime?: number;
}

/** The bytes of a tar with the given members, with its end marker. */
export function tar(entries: readonly TarEntry[]): Buffer {
  const blocks: Buffer[] = [];
  for (const entry of entries) {
    const content = Buffer.from(bytesOf(entry.content ?? ""));
    const size = entry.statedSize ?? content.length;
    const header = Buffer.alloc(512);
    const name = Buffer.from(entry.name);
    header.set(name.subarray(0, 100), 0);
    header.write(`${(entry.mode ?? 0o644).toString(8).padStart(7, "0")}\0`, 100);
    header.write("0000000\0", 108);
    header.write("0000000\0", 116);
    if (entry.base256) {
      header[124] = 0x80;
      header.writeBigUInt64BE(BigInt(size), 128);
    } else header.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
    const mtime = entry.mtime ?? 0o14000000000;
    if (mtime >= 0 && mtime < 8 ** 11) header.write(`${mtime.toString(8).padStart(11, "0")}\0`, 136);
    else {
      header.fill(mtime < 0 ? 0xff : 0, 136, 140)[136] = mtime < 0 ? 0xff : 0x80;
      header.writeBigInt64BE(BigInt(mtime), 140);
    }
    header.fill(32, 148, 156);
    header.write(entry.type ?? "0", 156);
    if (entry.link) header.write(entry.link, 157, 100);
    header.write("ustar\0", 257);
    header.write("00", 263);
    const sum = header.reduce((a, b) => a + b, entry.badChecksum ? 1 : 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    blocks.push(header, content, Buffer.alloc((512 - (content.length % 512)) % 512));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** A pax extended header for the member that follows it. */
export function pax(fields: Readonly<Record<string, string>>): TarEntry {
  const lines = Object.entries(fields).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = Buffer.byteLength(rest) + 1;
    while (String(length).length + Buffer.byteLength(rest) !== length) {
      length = String(length).length + Buffer.byteLength(rest);
    }
    return `${length}${rest}`;
  });
  return { name: "PaxHeader", type: "x", content: lines.join("") };
}

/** A member of a zip, as a test wants it. */
export interface ZipEntry {
  readonly name: string;
  readonly content: Uint8Array;
  /** 0 stored (default), 8 deflated; any other number is only claimed. */
  readonly method?: number;
  /** How much is tried when it is deflated. */
  readonly level?: number;
  readonly zip64?: boolean;
  readonly encrypted?: boolean;
  readonly badCrc?: boolean;
  /** A symbolic link, as `zip -y` writes it. */
  readonly link?: boolean;
  /** Leaves the local header's sizes to a data descriptor, as writers do that can't go back. */
  readonly streamed?: boolean;
  /** Another size in the directory than the content has. */
  readonly statedSize?: number;
}

/** The bytes of a zip with the given members. */
export function zip(entries: readonly ZipEntry[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const stored =
      entry.method === 8
        ? deflateRawSync(entry.content, entry.level === undefined ? {} : { level: entry.level })
        : Buffer.from(entry.content);
    const crc = entry.badCrc ? 1 : crc32(entry.content);
    const size = entry.statedSize ?? entry.content.length;
    const flags = (entry.encrypted ? 1 : 0) | (entry.streamed ? 8 : 0);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(20, 4);
    local.writeUInt16LE(flags, 6);
    local.writeUInt16LE(entry.method ?? 0, 8);
    local.writeUInt16LE(name.length, 26);
    const descriptor = Buffer.alloc(entry.streamed ? 16 : 0);
    if (entry.streamed) descriptor.writeUInt32LE(0x08074b50, 0);
    const sizes = entry.streamed ? descriptor : local;
    const at = entry.streamed ? 4 : 14;
    sizes.writeUInt32LE(crc, at);
    sizes.writeUInt32LE(stored.length, at + 4);
    sizes.writeUInt32LE(entry.content.length, at + 8);
    parts.push(local, name, stored, descriptor);
    const extra = entry.zip64 ? Buffer.alloc(28) : Buffer.alloc(0);
    if (entry.zip64) {
      extra.writeUInt16LE(1, 0);
      extra.writeUInt16LE(24, 2);
      extra.writeBigUInt64LE(BigInt(size), 4);
      extra.writeBigUInt64LE(BigInt(stored.length), 12);
      extra.writeBigUInt64LE(BigInt(offset), 20);
    }
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(45, 4);
    if (entry.link) {
      central[5] = 3;
      central.writeUInt16LE(0o120777, 40);
    }
    central.writeUInt16LE(45, 6);
    central.writeUInt16LE(flags, 8);
    central.writeUInt16LE(entry.method ?? 0, 10);
    central.writeUInt32LE(crc, 16);
    central.writeUInt32LE(entry.zip64 ? 0xffffffff : stored.length, 20);
    central.writeUInt32LE(entry.zip64 ? 0xffffffff : size, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt16LE(extra.length, 30);
    central.writeUInt32LE(entry.zip64 ? 0xffffffff : offset, 42);
    directory.push(central, name, extra);
    offset += local.length + name.length + stored.length + descriptor.length;
  }
  const central = Buffer.concat(directory);
  const zip64 = entries.some((e) => e.zip64);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(zip64 ? 0xffff : entries.length, 8);
  end.writeUInt16LE(zip64 ? 0xffff : entries.length, 10);
  end.writeUInt32LE(zip64 ? 0xffffffff : central.length, 12);
  end.writeUInt32LE(zip64 ? 0xffffffff : offset, 16);
  if (!zip64) return Buffer.concat([...parts, central, end]);
  const end64 = Buffer.alloc(56);
  end64.writeUInt32LE(0x06064b50, 0);
  end64.writeBigUInt64LE(44n, 4);
  end64.writeBigUInt64LE(BigInt(entries.length), 24);
  end64.writeBigUInt64LE(BigInt(entries.length), 32);
  end64.writeBigUInt64LE(BigInt(central.length), 40);
  end64.writeBigUInt64LE(BigInt(offset), 48);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(offset + central.length), 8);
  locator.writeUInt32LE(1, 16);
  return Buffer.concat([...parts, central, end64, locator, end]);
}

/** bzip2 by Python's own library, so that our reader meets another's writer. */
export function bzip2(content: Uint8Array, level = 9): Buffer<ArrayBufferLike> {
  const script = `import bz2,sys; sys.stdout.buffer.write(bz2.compress(sys.stdin.buffer.read(), ${level}))`;
  const run = spawnSync("python3", ["-c", script], { input: content, maxBuffer: 1 << 30 });
  if (run.status !== 0) throw new Error(`python3 could not compress: ${run.error?.message ?? run.stderr}`);
  return run.stdout;
}

/** What a built package is; anything not named gets a plain default. */
export interface PackageSpec {
  readonly name: string;
  readonly version?: string;
  readonly build?: string;
  /** Default "noarch". null leaves it out of index.json. */
  readonly subdir?: string | null;
  readonly depends?: readonly string[];
  /** Further keys of index.json, or others in place of the defaults. */
  readonly index?: Readonly<Record<string, unknown>>;
  /** The text of index.json, whatever the rest says. */
  readonly indexText?: string | Uint8Array;
  /** Files of the package by path. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** Further members of the payload, of any kind; no paths.json tells of them. */
  readonly payload?: readonly TarEntry[];
  readonly runExports?: unknown;
  /** Members before and after those of info/. */
  readonly infoFirst?: readonly TarEntry[];
  readonly infoLast?: readonly TarEntry[];
}

export interface BuiltPackage {
  readonly fileName: string;
  readonly bytes: Buffer;
  readonly sha256: string;
  readonly md5: string;
}

/** A `.conda` package (CEP 35): metadata.json, pkg-, info- in this order, stored. */
export function buildConda(spec: PackageSpec, options: { level?: number; zip?: Partial<ZipEntry> } = {}): BuiltPackage {
  const stem = stemOf(spec);
  const level = { params: { 100: options.level ?? 3 } };
  const entries = [
    { name: "metadata.json", content: Buffer.from('{"conda_pkg_format_version": 2}') },
    { name: `pkg-${stem}.tar.zst`, content: zstdCompressSync(tar(payloadOf(spec)), level) },
    { name: `info-${stem}.tar.zst`, content: zstdCompressSync(tar(infoOf(spec)), level) },
  ];
  return built(`${stem}.conda`, zip(entries.map((e) => ({ ...e, ...options.zip }))));
}

/** A `.tar.bz2` package (CEP 35), `info/` first. */
export function buildTarBz2(spec: PackageSpec): BuiltPackage {
  return built(`${stemOf(spec)}.tar.bz2`, bzip2(tar([...infoOf(spec), ...payloadOf(spec)])));
}

/** Bytes under a package's file name, with their hashes. */
export function built(fileName: string, bytes: Buffer): BuiltPackage {
  const hash = (kind: string) => createHash(kind).update(bytes).digest("hex");
  return { fileName, bytes, sha256: hash("sha256"), md5: hash("md5") };
}

/** `info/` of a package as tar members. */
export function infoOf(spec: PackageSpec): TarEntry[] {
  const files = Object.entries(spec.files ?? {});
  const index = {
    arch: null,
    build: spec.build ?? "0",
    build_number: 0,
    depends: spec.depends ?? [],
    license: "MIT",
    name: spec.name,
    platform: null,
    ...(spec.subdir === null ? {} : { subdir: spec.subdir ?? "noarch" }),
    ...(spec.subdir === undefined || spec.subdir === "noarch" ? { noarch: "generic" } : {}),
    timestamp: 1_700_000_000_000,
    version: spec.version ?? "1.0",
    ...spec.index,
  };
  const paths = files.map(([path, content]) => {
    const bytes = bytesOf(content);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { _path: path, path_type: "hardlink", sha256, size_in_bytes: bytes.length };
  });
  return [
    ...(spec.infoFirst ?? []),
    { name: "info/index.json", content: spec.indexText ?? JSON.stringify(index, null, 2) },
    { name: "info/about.json", content: JSON.stringify({ summary: `${spec.name}, built for a test` }) },
    { name: "info/paths.json", content: JSON.stringify({ paths, paths_version: 1 }) },
    ...(spec.runExports === undefined
      ? []
      : [{ name: "info/run_exports.json", content: JSON.stringify(spec.runExports) }]),
    ...(spec.infoLast ?? []),
  ];
}

function payloadOf(spec: PackageSpec): TarEntry[] {
  return [...Object.entries(spec.files ?? {}).map(([name, content]) => ({ name, content })), ...(spec.payload ?? [])];
}

function stemOf(spec: PackageSpec): string {
  return `${spec.name}-${spec.version ?? "1.0"}-${spec.build ?? "0"}`;
}

function bytesOf(content: Uint8Array | string): Uint8Array {
  return typeof content === "string" ? Buffer.from(content) : content;
}
