import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildConda, buildTarBz2 } from "../test/packages/builder.ts";

/**
 * A folder of packages with sizes spread as a channel's are: many small ones, few large, 123 KB on average.
 * Made once and kept; same arguments, same bytes.
 * @param bz2 one in so many is a `.tar.bz2`; 0 for none.
 */
export function corpus(folder: string, count: number, bz2 = 0): string[] {
  const subdir = join(folder, "linux-64");
  const names: string[] = [];
  const done = join(folder, `complete-${count}`);
  const make = !existsSync(done);
  mkdirSync(subdir, { recursive: true });
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
  for (let i = 0; i < count; i++) {
    const size = Math.round(12_000 + 30_000 * -Math.log(1 - random()) + (random() < 0.1 ? 790_000 * random() * 2 : 0));
    const name = `bench-${i % 100}-${i}`;
    const old = bz2 > 0 && i % bz2 === 0;
    const fileName = `${name}-1.${i % 10}.0-h${i}_0.${old ? "tar.bz2" : "conda"}`;
    names.push(fileName);
    if (!make) continue;
    const content = Buffer.alloc(size);
    for (let at = 0; at < size; at++) content[at] = (Math.imul(at ^ i, 2654435761) >>> 13) ^ (at >>> 5);
    for (let at = 0; at + 4 <= size; at += 4)
      content.writeUInt32LE((Math.imul(at + i * 7919, 2246822519) ^ (random() * 2 ** 32)) >>> 0, at);
    const built = (old ? buildTarBz2 : buildConda)({
      name,
      version: `1.${i % 10}.0`,
      build: `h${i}_0`,
      subdir: "linux-64",
      depends: ["python >=3.12,<3.13.0a0", "libgcc >=13"],
      files: { [`lib/bench/${i}.bin`]: content },
    });
    writeFileSync(join(subdir, fileName), built.bytes);
  }
  writeFileSync(done, "");
  return names;
}
