import { rmSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { TargetError, unwritable } from "../errors.ts";

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

/** SQLite's codes for a file that is no database of ours: SQLITE_ERROR (other tables), SQLITE_CORRUPT, SQLITE_NOTADB. */
const DAMAGED = [1, 11, 26];

/**
 * @param path the database's file; undefined for a cache that lasts as long as the run.
 * @throws TargetError UNWRITABLE when it can't be used.
 */
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
  /** Begins anew where an error says that the file is damaged: it is only a cache. Any other error is told. */
  const recover = (e: unknown): void => {
    if (path === undefined || !DAMAGED.includes(codeOf(e))) throw unusable(path, e);
    try {
      if (db?.isOpen) db.close();
      for (const suffix of ["", "-journal"]) rmSync(path + suffix, { force: true });
      db = open();
    } catch (again) {
      throw unusable(path, again);
    }
  };
  try {
    db = open();
  } catch (e) {
    recover(e);
  }
  const inOne = (work: () => void) => {
    db.exec("BEGIN IMMEDIATE");
    try {
      work();
      db.exec("COMMIT");
    } catch (e) {
      if (db.isTransaction) db.exec("ROLLBACK");
      throw e;
    }
  };
  const write = (work: () => void) => {
    try {
      inOne(work);
    } catch (e) {
      recover(e);
      inOne(work);
    }
  };
  function* rows<T>(sql: string, ...values: string[]): Generator<T> {
    try {
      yield* db.prepare(sql).iterate(...values) as Iterable<T>;
    } catch (e) {
      recover(e);
    }
  }
  return {
    files(subdir) {
      const found = new Map<string, CachedFile>();
      const before = db;
      for (const row of rows<{ name: string; version: string; sha256: string; hasFacts: number }>(
        "SELECT name, version, sha256, facts <> '' AS hasFacts FROM files WHERE subdir = ?",
        subdir,
      ))
        found.set(row.name, { version: row.version, sha256: row.sha256, hasFacts: row.hasFacts === 1 });
      return db === before ? found : new Map();
    },
    facts: (subdir) => rows("SELECT name AS fileName, facts FROM files WHERE subdir = ? ORDER BY name", subdir),
    runExports: (subdir) =>
      rows("SELECT name AS fileName, run_exports AS runExports FROM files WHERE subdir = ?", subdir),
    covered(subdir) {
      const [row] = rows<{ version: string | null }>("SELECT version FROM indexes WHERE subdir = ?", subdir);
      return row?.version ?? undefined;
    },
    remember(subdir, files, covered) {
      write(() => {
        const put = db.prepare("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)");
        for (const f of files) put.run(subdir, f.fileName, f.version, f.sha256, f.runExports, f.facts);
        db.prepare("INSERT OR REPLACE INTO indexes VALUES (?, ?)").run(subdir, covered ?? null);
      });
    },
    forget(subdir, fileNames) {
      write(() => {
        const remove = db.prepare("DELETE FROM files WHERE subdir = ? AND name = ?");
        const uncover = db.prepare("DELETE FROM indexes WHERE subdir = ?");
        for (const fileName of fileNames) {
          remove.run(subdir, fileName);
          // Its record is still in that index, until the one without it is written.
          uncover.run(subdir);
        }
      });
    },
    summary(subdir, version) {
      const [row] = rows<{ summary: string }>(
        "SELECT summary FROM summaries WHERE subdir = ? AND version = ?",
        subdir,
        version,
      );
      return row?.summary;
    },
    rememberSummary(subdir, version, summary) {
      write(() => db.prepare("INSERT OR REPLACE INTO summaries VALUES (?, ?, ?)").run(subdir, version, summary));
    },
    close: () => db.close(),
  };
}

/** SQLite's own code; extended ones share the low byte. */
function codeOf(e: unknown): number {
  return ((e as { errcode?: number } | null)?.errcode ?? 0) % 256;
}

function unusable(path: string | undefined, e: unknown): unknown {
  if (e instanceof TargetError || path === undefined) return e;
  return unwritable(`${path}: the notes on packages that were read can't be kept`, e);
}
