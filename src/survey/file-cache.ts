import { rmSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";

/** What is remembered of a package file. */
export interface CachedFile {
  /** What the file looked like: changes whenever the content does. */
  readonly version: string;
  /** 64 lower hex digits. */
  readonly sha256: string;
  /** Whether its facts were gathered. */
  readonly hasFacts: boolean;
}

/** What a file's content says, as it was read. */
export interface ReadFile extends Omit<CachedFile, "hasFacts"> {
  readonly fileName: string;
  /** JSON; `{}` for none. */
  readonly runExports: string;
  /** What the package contributes to channeldata.json, as JSON; "" when it was not gathered. */
  readonly facts: string;
}

/**
 * Remembers what was read from a channel's packages, so that a file whose size, time and inode are as they were is not
 * read again. A database beside the channel: it may be deleted at any time, which costs one reading of every package.
 */
export interface FileCache {
  files(subdir: string): ReadonlyMap<string, CachedFile>;
  /** Facts of every remembered file of a subdir. One row in memory at a time. */
  facts(subdir: string): Iterable<{ readonly fileName: string; readonly facts: string }>;
  runExports(subdir: string): Iterable<{ readonly fileName: string; readonly runExports: string }>;
  /** The version of the `repodata.json` that lists what is remembered of a subdir, and nothing else. */
  covered(subdir: string): string | undefined;
  /** Adds files, and notes which `repodata.json` lists what is remembered now. */
  remember(subdir: string, files: Iterable<ReadFile>, covered: string | undefined): void;
  /** Removes files; then no index lists what is remembered, until `remember` names one. */
  forget(subdir: string, fileNames: Iterable<string>): void;
  /** What was told of the index of this version, as `rememberSummary` was given it. */
  summary(subdir: string, version: string): string | undefined;
  rememberSummary(subdir: string, version: string, summary: string): void;
  close(): void;
}

/** Changes when rows mean something else: then all of them are made anew. */
const LAYOUT = 1;

/** @param path the database's file; undefined for a cache that lasts as long as the run. */
export async function openFileCache(path: string | undefined): Promise<FileCache> {
  const { DatabaseSync } = await import("node:sqlite");
  const open = (): DatabaseSync => {
    const db = new DatabaseSync(path ?? ":memory:", { timeout: 10_000 });
    try {
      db.exec("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF;");
      const { user_version } = db.prepare("PRAGMA user_version").get() as { user_version: number };
      if (user_version !== LAYOUT)
        db.exec(
          `DROP TABLE IF EXISTS files; DROP TABLE IF EXISTS indexes; DROP TABLE IF EXISTS summaries; PRAGMA user_version = ${LAYOUT};`,
        );
      db.exec(`CREATE TABLE IF NOT EXISTS files (
        subdir TEXT, name TEXT, version TEXT, sha256 TEXT, run_exports TEXT, facts TEXT, PRIMARY KEY (subdir, name)
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS indexes (subdir TEXT PRIMARY KEY, version TEXT) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS summaries (subdir TEXT PRIMARY KEY, version TEXT, summary TEXT) WITHOUT ROWID`);
      return db;
    } catch (e) {
      db.close();
      throw e;
    }
  };
  let db: DatabaseSync;
  try {
    db = open();
  } catch (e) {
    if (path === undefined) throw e;
    // Damaged, or no database at all: it is only a cache.
    for (const suffix of ["", "-journal"]) rmSync(path + suffix, { force: true });
    db = open();
  }
  const inOne = (work: () => void) => {
    db.exec("BEGIN IMMEDIATE");
    try {
      work();
      db.exec("COMMIT");
    } catch (e) {
      db.exec("ROLLBACK");
      throw e;
    }
  };
  return {
    files(subdir) {
      const rows = db
        .prepare("SELECT name, version, sha256, facts <> '' AS hasFacts FROM files WHERE subdir = ?")
        .iterate(subdir);
      const found = new Map<string, CachedFile>();
      for (const row of rows as Iterable<{ name: string; version: string; sha256: string; hasFacts: number }>)
        found.set(row.name, { version: row.version, sha256: row.sha256, hasFacts: row.hasFacts === 1 });
      return found;
    },
    facts: (subdir) =>
      db
        .prepare("SELECT name AS fileName, facts FROM files WHERE subdir = ? ORDER BY name")
        .iterate(subdir) as Iterable<{
        fileName: string;
        facts: string;
      }>,
    runExports: (subdir) =>
      db
        .prepare("SELECT name AS fileName, run_exports AS runExports FROM files WHERE subdir = ?")
        .iterate(subdir) as Iterable<{ fileName: string; runExports: string }>,
    covered(subdir) {
      const row = db.prepare("SELECT version FROM indexes WHERE subdir = ?").get(subdir);
      return row?.["version"] as string | undefined;
    },
    remember(subdir, files, covered) {
      const put = db.prepare("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)");
      inOne(() => {
        for (const f of files) put.run(subdir, f.fileName, f.version, f.sha256, f.runExports, f.facts);
        db.prepare("INSERT OR REPLACE INTO indexes VALUES (?, ?)").run(subdir, covered ?? null);
      });
    },
    forget(subdir, fileNames) {
      const remove = db.prepare("DELETE FROM files WHERE subdir = ? AND name = ?");
      const uncover = db.prepare("DELETE FROM indexes WHERE subdir = ?");
      inOne(() => {
        for (const fileName of fileNames) {
          remove.run(subdir, fileName);
          // Its record is still in that index, until the one without it is written.
          uncover.run(subdir);
        }
      });
    },
    summary(subdir, version) {
      const row = db.prepare("SELECT summary FROM summaries WHERE subdir = ? AND version = ?").get(subdir, version);
      return row?.["summary"] as string | undefined;
    },
    rememberSummary(subdir, version, summary) {
      db.prepare("INSERT OR REPLACE INTO summaries VALUES (?, ?, ?)").run(subdir, version, summary);
    },
    close: () => db.close(),
  };
}
