import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = new URL("..", import.meta.url).pathname;

/** Programs of others that tests and benchmarks start: each is a Go module that pins one version. */
const PROGRAMS = {
  minio: "github.com/minio/minio",
  versitygw: "github.com/versity/versitygw/cmd/versitygw",
  registry: "github.com/distribution/distribution/v3/cmd/registry",
} as const;

export type GoProgram = keyof typeof PROGRAMS;

/** Where a program is once it has been brought. */
export function goProgram(name: GoProgram): string {
  return join(root, ".cache/bin", process.platform === "win32" ? `${name}.exe` : name);
}

/**
 * Builds a program unless the version that is wanted is there. The first time takes minutes; afterwards Go's own cache makes it
 * seconds, also in a fresh clone.
 * @throws Error when it can't be built
 */
export function bringGoProgram(name: GoProgram): void {
  const module = join(root, "test/servers/go", name);
  const binary = goProgram(name);
  const wanted = createHash("sha256")
    .update(readFileSync(join(module, "go.sum")))
    .digest("hex");
  const stamp = `${binary}.version`;
  if (existsSync(binary) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  mkdirSync(join(root, ".cache/bin"), { recursive: true });
  process.stderr.write(`building ${PROGRAMS[name]} for the tests…\n`);
  // Their debug information is half of what there is to link.
  const built = spawnSync("go", ["build", "-ldflags=-s -w", "-o", binary, PROGRAMS[name]], {
    cwd: module,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, GOFLAGS: "-mod=readonly" },
  });
  if (built.status !== 0) throw new Error(`${name} could not be built${built.error ? `: ${built.error.message}` : ""}`);
  writeFileSync(stamp, wanted);
}

/** The programs that a test or benchmark names by a comment `// needs minio, versitygw`. */
export function programsNeeded(files: readonly string[]): GoProgram[] {
  const named = files.flatMap((f) => (/^\/\/ needs (.+)$/m.exec(readFileSync(f, "utf8"))?.[1] ?? "").split(/,\s*/));
  return (Object.keys(PROGRAMS) as GoProgram[]).filter((name) => named.includes(name));
}
