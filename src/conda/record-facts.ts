/** What a record says about its file's bytes. */
export interface RecordFacts {
  readonly sha256?: string;
  readonly md5?: string;
  readonly size?: number;
  readonly subdir?: string;
  readonly name?: string;
  readonly version?: string;
  readonly build?: string;
}

/** Looks inside one record. Values of a wrong form count as absent: foreign indexes hold nulls and empty strings. */
export function recordFacts(record: Uint8Array): RecordFacts {
  const r = JSON.parse(Buffer.from(record.buffer, record.byteOffset, record.length).toString("utf8")) as Record<
    string,
    unknown
  >;
  const facts: { -readonly [K in keyof RecordFacts]: RecordFacts[K] } = {};
  if (typeof r["sha256"] === "string" && /^[0-9a-f]{64}$/i.test(r["sha256"])) facts.sha256 = r["sha256"].toLowerCase();
  if (typeof r["md5"] === "string" && /^[0-9a-f]{32}$/i.test(r["md5"])) facts.md5 = r["md5"].toLowerCase();
  if (Number.isSafeInteger(r["size"]) && (r["size"] as number) >= 0) facts.size = r["size"] as number;
  for (const key of ["subdir", "name", "version", "build"] as const)
    if (typeof r[key] === "string") facts[key] = r[key];
  return facts;
}
