import { eachMember, JsonBytesError, skipSpace, skipValue, stringAt } from "../conda/json-bytes.ts";

/** What the files of a package do at installation (CEP 38), in the words of channeldata.json. */
export type PathFact =
  | "activate.d"
  | "binary_prefix"
  | "deactivate.d"
  | "post_link"
  | "pre_link"
  | "pre_unlink"
  | "text_prefix";

export const PATH_FACTS: readonly PathFact[] = [
  "activate.d",
  "binary_prefix",
  "deactivate.d",
  "post_link",
  "pre_link",
  "pre_unlink",
  "text_prefix",
];

/** A path can state these facts only if its bytes hold the word; a backslash may hide any. */
const TELLING: readonly (readonly [word: string, of: readonly PathFact[]])[] = [
  ["prefix_placeholder", ["binary_prefix", "text_prefix"]],
  ["activate.d", ["activate.d", "deactivate.d"]],
  ["-link.", ["pre_link", "post_link"]],
  ["-unlink.", ["pre_unlink"]],
  ["\\", PATH_FACTS],
];

const BINARY = Buffer.from('"binary"');
const TEXT = Buffer.from('"text"');

/**
 * Which facts the content of `info/paths.json` states (conda-index 0.13 `cache.py`). Read as bytes, and only the paths
 * that hold a telling word for a fact not yet known: 10 MB without one take 15 ms, with few 40 ms, and no memory.
 * @throws JsonBytesError when it is no object with a list of objects as `paths`.
 */
export function pathFacts(pathsJson: Uint8Array): Set<PathFact> {
  const facts = new Set<PathFact>();
  const bytes = Buffer.from(pathsJson.buffer, pathsJson.byteOffset, pathsJson.length);
  const words = TELLING.map(([word, of]) => ({ word, of, next: bytes.indexOf(word) }));
  /** Where the next telling word lies at or behind `at`; -1 when none is left. */
  const nextWord = (at: number): number => {
    let nearest = -1;
    for (const w of words) {
      if (w.next >= 0 && w.of.every((fact) => facts.has(fact))) w.next = -1;
      if (w.next >= 0 && w.next < at) w.next = bytes.indexOf(w.word, at);
      if (w.next >= 0 && (nearest < 0 || w.next < nearest)) nearest = w.next;
    }
    return nearest;
  };
  if (nextWord(0) < 0) return facts;
  eachMember(bytes, 0, (keyStart, keyEnd, valueStart) => {
    if (stringAt(bytes, keyStart, keyEnd) === "paths") readPaths(bytes, valueStart, nextWord, facts);
  });
  return facts;
}

function readPaths(bytes: Buffer, at: number, nextWord: (at: number) => number, facts: Set<PathFact>): void {
  if (bytes[at] !== 91) throw new JsonBytesError("a list was expected", at);
  let i = skipSpace(bytes, at + 1);
  if (bytes[i] === 93) return;
  for (let word = nextWord(i); word >= 0; word = nextWord(i)) {
    const end = skipValue(bytes, i);
    if (word < end) readPath(bytes, i, facts);
    i = skipSpace(bytes, end);
    if (bytes[i] === 93) return;
    if (bytes[i] !== 44) throw new JsonBytesError("',' or ']' was expected", i);
    i = skipSpace(bytes, i + 1);
  }
}

function readPath(bytes: Buffer, at: number, facts: Set<PathFact>): void {
  let placeholder = false;
  let mode: "binary_prefix" | "text_prefix" | undefined;
  eachMember(bytes, at, (keyStart, keyEnd, valueStart, valueEnd) => {
    switch (stringAt(bytes, keyStart, keyEnd)) {
      case "_path":
        if (bytes[valueStart] === 34) readName(stringAt(bytes, valueStart, valueEnd), facts);
        return;
      case "prefix_placeholder":
        placeholder = bytes[valueStart] === 34 && valueEnd - valueStart > 2;
        return;
      case "file_mode": {
        const value = bytes.subarray(valueStart, valueEnd);
        mode = value.equals(BINARY) ? "binary_prefix" : value.equals(TEXT) ? "text_prefix" : undefined;
      }
    }
  });
  if (placeholder && mode) facts.add(mode);
}

function readName(path: string, facts: Set<PathFact>): void {
  if (path.startsWith("etc/conda/activate.d")) facts.add("activate.d");
  else if (path.startsWith("etc/conda/deactivate.d")) facts.add("deactivate.d");
  // A hidden file in a folder: bin/.name-pre-link.sh, Scripts/.name-post-link.bat
  const hidden = path.indexOf("/.");
  if (hidden < 0) return;
  if (path.includes("-pre-link.", hidden + 2)) facts.add("pre_link");
  if (path.includes("-post-link.", hidden + 2)) facts.add("post_link");
  if (path.includes("-pre-unlink.", hidden + 2)) facts.add("pre_unlink");
}
