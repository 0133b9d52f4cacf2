import { parseFileName } from "../../conda/file-name.ts";
import type { IndexRecord } from "../index-record.ts";

/** What a page shows of one package file. Every string may be hostile; the pages escape and cut them. */
export interface PageRecord {
  readonly fileName: string;
  readonly name: string;
  readonly version: string;
  readonly build: string;
  readonly buildNumber: number;
  readonly depends: readonly string[];
  readonly license?: string;
  /** Bytes. */
  readonly size?: number;
  /** Milliseconds or seconds, as found. */
  readonly timestamp?: number;
  /** 64 hex digits. */
  readonly sha256?: string;
  readonly noarch?: string;
}

/**
 * Reads an index's record as far as a page needs it. Fields of a wrong form count as absent, name and version are then taken
 * from the file's name; undefined when neither gives them, or when the record is no JSON object.
 */
export function pageRecord({ fileName, record }: IndexRecord): PageRecord | undefined {
  const r = parsed(record);
  if (!r) return undefined;
  const parts = fromFileName(fileName);
  const name = text(r["name"]) ?? parts?.name;
  const version = text(r["version"]) ?? parts?.version;
  if (name === undefined || version === undefined) return undefined;
  const { depends, size, timestamp, sha256 } = r;
  const license = Array.isArray(r["license"]) ? texts(r["license"]).join(", ") : text(r["license"]);
  const noarch = r["noarch"] === true ? "generic" : text(r["noarch"]);
  return {
    fileName,
    name,
    version,
    build: text(r["build"]) ?? parts?.build ?? "",
    buildNumber: isCount(r["build_number"]) ? r["build_number"] : 0,
    depends: texts(depends),
    ...(license ? { license } : {}),
    ...(isCount(size) ? { size } : {}),
    ...(typeof timestamp === "number" && timestamp > 0 ? { timestamp } : {}),
    ...(typeof sha256 === "string" && /^[0-9a-f]{64}$/i.test(sha256) ? { sha256: sha256.toLowerCase() } : {}),
    ...(noarch ? { noarch } : {}),
  };
}

function parsed(record: Uint8Array): Record<string, unknown> | undefined {
  try {
    const json: unknown = JSON.parse(Buffer.from(record.buffer, record.byteOffset, record.length).toString("utf8"));
    return typeof json === "object" && json !== null && !Array.isArray(json)
      ? (json as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function fromFileName(fileName: string): { name: string; version: string; build: string } | undefined {
  try {
    return parseFileName(fileName);
  } catch {
    return undefined;
  }
}

/** A non-empty string; a number stands in some old records where a version belongs. */
function text(value: unknown): string | undefined {
  if (typeof value === "string") return value === "" ? undefined : value;
  return typeof value === "number" ? String(value) : undefined;
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((v) => typeof v === "string") : [];
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
