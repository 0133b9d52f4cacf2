import { compact, JsonBytesError, membersOf } from "./json-bytes.ts";

/** What a package exports, as it goes into indexes. */
export interface RunExports {
  /** Compact JSON of one object; `{}` when there is nothing. */
  readonly runExports: Uint8Array;
  /** What was left out and why, in words for the package's owner. */
  readonly problems: readonly string[];
}

/** The kinds of run exports that clients read (CEP 12). */
const KINDS = new Set(["weak", "strong", "weak_constrains", "strong_constrains", "noarch"]);

/** "Has none", which is not "unknown": CEP 21 has the difference. */
export const NO_RUN_EXPORTS: Uint8Array = Buffer.from("{}");

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads a package's `info/run_exports.json`: an object of lists, or a bare list, which means `weak` and which
 * rattler_index ends its run on. A kind that is no list of text is left out, for rattler refuses the whole entry over it;
 * lists are kept byte for byte, and keys that no CEP knows are kept when they are lists of text.
 * @param member the content, or undefined when the package has none.
 */
export function normaliseRunExports(member: Uint8Array | undefined): RunExports {
  if (member === undefined) return { runExports: NO_RUN_EXPORTS, problems: [] };
  let json: unknown;
  let raw: Map<string, Uint8Array>;
  try {
    const bare = compact(member);
    json = JSON.parse(utf8.decode(bare));
    if (isTexts(json)) return { runExports: rawObject([["weak", bare]]), problems: [] };
    if (typeof json !== "object" || json === null || Array.isArray(json))
      return {
        runExports: NO_RUN_EXPORTS,
        problems: ["its info/run_exports.json is neither an object nor a list of text"],
      };
    raw = membersOf(bare);
  } catch (e) {
    const why = e instanceof JsonBytesError || e instanceof SyntaxError ? e.message : "it is not UTF-8";
    return { runExports: NO_RUN_EXPORTS, problems: [`its info/run_exports.json is no usable JSON: ${why}`] };
  }
  const problems: string[] = [];
  const kept: [string, Uint8Array][] = [];
  for (const [kind, bytes] of raw) {
    if (isTexts((json as Record<string, unknown>)[kind])) kept.push([kind, bytes]);
    else if (KINDS.has(kind)) problems.push(`its run exports of kind ${kind} are no list of text and are left out`);
  }
  return { runExports: rawObject(kept), problems };
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

/** A JSON object of members whose values are JSON bytes already. */
export function rawObject(members: readonly (readonly [key: string, value: Uint8Array])[]): Uint8Array {
  const parts = members.map(([key, value], i) =>
    Buffer.concat([Buffer.from(`${i === 0 ? "" : ","}${JSON.stringify(key)}:`), value]),
  );
  return Buffer.concat([Buffer.from("{"), ...parts, Buffer.from("}")]);
}
