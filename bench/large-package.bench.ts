import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { crc32, zstdCompressSync } from "node:zlib";
import { buildConda, infoOf, tar } from "../test/packages/builder.ts";
import { cache, ours, serve } from "./support.ts";

/** A package of 2 GB over HTTP: peak memory beside that of one of 2 KB. Goal: at most 150 MB more. */
const folder = join(cache, "large");
mkdirSync(folder, { recursive: true });
const large = join(folder, "large-1.0-0.conda");
if (!existsSync(large)) makeLarge(large, 2_000_000_000);
const small = buildConda({ name: "small", files: { "share/small": "x".repeat(900) } });
writeFileSync(join(folder, small.fileName), small.bytes);
const server = await serve(folder);
const out = join(cache, "out-large");
const peaks: number[] = [];
for (const fileName of [small.fileName, "large-1.0-0.conda"]) {
  rmSync(out, { recursive: true, force: true });
  const run = await ours(["mirror", `${server.url}/${fileName}`, "--target-path", out, "-q"]);
  if (run.code !== 0) throw new Error("our run failed");
  peaks.push(run.peakMB as number);
  const { size } = statSync(join(out, "noarch", fileName));
  process.stdout.write(
    `  ${fileName}: ${size} bytes in ${run.seconds.toFixed(1)} s, peak ${run.peakMB?.toFixed(0)} MB\n`,
  );
}
rmSync(out, { recursive: true, force: true });
server.stop();
process.stdout.write(
  `large-package: ${((peaks[1] as number) - (peaks[0] as number)).toFixed(0)} MB more for 2 GB   goal 150\n`,
);

/** A `.conda` whose pkg- member is `size` bytes of noise, written without holding it in memory. */
function makeLarge(path: string, size: number): void {
  const noise = Buffer.alloc(16 * 1024 * 1024);
  for (let i = 0; i < noise.length; i += 4) noise.writeUInt32LE((Math.imul(i, 2654435761) ^ (i >>> 7)) >>> 0, i);
  const info = zstdCompressSync(tar(infoOf({ name: "large" })));
  const part = `${path}.part`;
  const fd = openSync(part, "w");
  const members: { name: Buffer; crc: number; size: number; at: number }[] = [];
  let at = 0;
  const put = (bytes: Uint8Array) => {
    at += writeSync(fd, bytes);
  };
  const member = (name: string, parts: readonly Uint8Array[]) => {
    const m = { name: Buffer.from(name), crc: 0, size: 0, at };
    for (const p of parts) {
      m.crc = crc32(p, m.crc);
      m.size += p.length;
    }
    const header = Buffer.alloc(30);
    header.writeUInt32LE(0x04034b50, 0);
    header.writeUInt32LE(m.crc, 14);
    header.writeUInt32LE(m.size, 18);
    header.writeUInt32LE(m.size, 22);
    header.writeUInt16LE(m.name.length, 26);
    put(header);
    put(m.name);
    for (const p of parts) put(p);
    members.push(m);
  };
  member("metadata.json", [Buffer.from('{"conda_pkg_format_version": 2}')]);
  member("pkg-large-1.0-0.tar.zst", Array(Math.ceil(size / noise.length)).fill(noise));
  member("info-large-1.0-0.tar.zst", [info]);
  const start = at;
  for (const m of members) {
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt32LE(m.crc, 16);
    entry.writeUInt32LE(m.size, 20);
    entry.writeUInt32LE(m.size, 24);
    entry.writeUInt16LE(m.name.length, 28);
    entry.writeUInt32LE(m.at, 42);
    put(entry);
    put(m.name);
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(at - start, 12);
  end.writeUInt32LE(start, 16);
  put(end);
  closeSync(fd);
  renameSync(part, path);
}
