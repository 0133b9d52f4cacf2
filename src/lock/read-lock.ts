import { redactUrl } from "../transfer/redact.ts";
import { badLock } from "./bad-lock.ts";
import { readCondaList } from "./conda-list.ts";
import { readCondaLock } from "./conda-lock.ts";
import { readCondaMeta } from "./conda-meta.ts";
import { isExplicit, readExplicit } from "./explicit.ts";
import { isTable, type Table, textOf } from "./fields.ts";
import type { LockFile } from "./lock-file.ts";
import { readPixiLock } from "./pixi-lock.ts";

/** The newest version of pixi.lock that is understood. A newer one is refused, not guessed at, as rattler_lock does. */
const NEWEST = 7;

/**
 * Reads a lock file of any kind; its content tells which.
 * @param what for errors: where it comes from, secrets removed.
 * @throws SourceError BAD_LOCK
 */
export async function readLock(text: string, what: string): Promise<LockFile> {
  if (isExplicit(text)) return readExplicit(text, what);
  const first = text.trimStart()[0];
  if (first === "{" || first === "[") return readJson(text, what);
  return byVersion(await parseYaml(text, what), what);
}

function readJson(text: string, what: string): LockFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (e) {
    // JSON.parse quotes the text, which may hold secrets.
    throw badLock(what, "it begins like JSON and is none", e);
  }
  if (Array.isArray(value) && value.some((v) => isTable(v) && "dist_name" in v)) return readCondaList(value, what);
  if (!isTable(value)) throw badLock(what, "it is no lock file that is known");
  if ("lockVersion" in value) throw badLock(what, "lock files of mambajs tell no URLs");
  if ("url" in value || "fn" in value) return readCondaMeta([[what, text]], what);
  return byVersion(value, what);
}

function byVersion(root: Table, what: string): LockFile {
  const text = textOf(root["version"]);
  if (text === undefined) {
    if ("dependencies" in root)
      throw badLock(what, "it is an environment.yml, which locks nothing; lock it with conda-lock or pixi first");
    throw badLock(what, "it names no version, and is no lock file that is known");
  }
  const version = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (version > NEWEST)
    throw badLock(what, `its version is ${version}, and the newest that is understood is ${NEWEST}`);
  if (version < 1)
    throw badLock(what, `its version is ${JSON.stringify(redactUrl(text)).slice(0, 40)}, which is not known`);
  return version <= 3 ? readCondaLock(root, version, what) : readPixiLock(root, version, what);
}

/** YAML with every scalar as text: an MD5 of digits alone would else become a number, and lose some. */
async function parseYaml(text: string, what: string): Promise<Table> {
  const { isScalar, parseDocument, visit } = await import("yaml");
  let value: unknown;
  try {
    const document = parseDocument(text, { schema: "failsafe", prettyErrors: true, logLevel: "error" });
    for (const error of document.errors) throw error;
    visit(document, {
      Pair(_, { key }) {
        // It would become text, and what is nested in this way takes hours for that: 500 braces took 25 s.
        if (!isScalar(key)) throw new Error("a key is no text");
      },
    });
    value = document.toJS({ maxAliasCount: 100 });
  } catch (e) {
    throw badLock(what, `it is no YAML: ${((e as Error).message.split("\n")[0] ?? "").slice(0, 200)}`, e);
  }
  if (isTable(value)) return value;
  throw badLock(what, "it is neither a lock file nor a list that begins with @EXPLICIT");
}
