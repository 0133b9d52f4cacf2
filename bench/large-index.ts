import { hash } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";

const WORDS =
  `python numpy scipy pandas lib open ssl zlib xz boost cpp qt core tools r perl rust go node gdal proj arrow parquet
torch jax cuda mpi hdf5 netcdf icu gtk glib cairo pango png jpeg tiff webp curl ssh krb5 sql lite maria redis kafka aws sdk google
cloud azure api client server parser lexer yaml toml json`.split(/\s+/);
const LICENSES = ["MIT", "BSD-3-Clause", "Apache-2.0", "GPL-3.0-or-later", "PSF-2.0", "Zlib"];

/**
 * Writes `<folder>/<subdir>/repodata.json` with so many records, of conda-forge's shape: 25 a name, 480 bytes each, one in
 * five a `.tar.bz2`. Made once and kept; same arguments, same bytes. There are no packages behind it.
 */
export function largeIndex(folder: string, subdir: string, count: number): string {
  const path = join(folder, subdir, "repodata.json");
  if (existsSync(path)) return path;
  mkdirSync(join(folder, subdir), { recursive: true });
  let seed = 7;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;
  const names = Array.from({ length: count / 25 }, (_, i) => `${pick(WORDS)}-${pick(WORDS)}${i}`);
  const specs = names.slice(0, 4000).map((n) => `${n} >=${random(10)}.${random(30)},<${10 + random(10)}.0a0`);
  const maps: [key: string, record: string][][] = [[], []];
  for (let i = 0; i < count; i++) {
    const name = names[Math.floor(names.length * (random(1e6) / 1e6) ** 1.3)] as string;
    const version = `${random(30)}.${random(40)}.${random(20)}`;
    const sha256 = hash("sha256", String(i));
    const build = `${i % 2 ? `py3${8 + random(6)}` : ""}h${sha256.slice(0, 7)}_${i % 13}`;
    const record = {
      build,
      build_number: i % 13,
      ...(i % 6 === 0 ? { constrains: [pick(specs)] } : {}),
      depends: Array.from({ length: random(10) }, () => pick(specs)),
      license: LICENSES[i % LICENSES.length],
      md5: sha256.slice(0, 32),
      name,
      sha256,
      size: 2000 + random(9e7),
      subdir,
      timestamp: 1_400_000_000_000 + ((i * 700_000) % 390_000_000_000),
      version,
    };
    const conda = i % 5 !== 0;
    maps[conda ? 1 : 0]?.push([`${name}-${version}-${build}.${conda ? "conda" : "tar.bz2"}`, JSON.stringify(record)]);
  }
  const part = `${path}.part`;
  const fd = openSync(part, "w");
  writeSync(fd, `{"info":{"subdir":"${subdir}"}`);
  for (const [m, records] of maps.entries()) {
    records.sort(([a], [b]) => (a < b ? -1 : 1));
    writeSync(fd, `,"${m === 0 ? "packages" : "packages.conda"}":{`);
    for (let i = 0; i < records.length; i += 1000) {
      const some = records.slice(i, i + 1000).map(([key, record]) => `"${key}":${record}`);
      writeSync(fd, `${i > 0 ? "," : ""}${some.join(",")}`);
    }
    writeSync(fd, "}");
  }
  writeSync(fd, ',"removed":[],"repodata_version":1}');
  closeSync(fd);
  renameSync(part, path);
  return path;
}
