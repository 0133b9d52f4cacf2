/** What a record says about its file's bytes. */
export interface RecordFacts {
  readonly sha256?: string;
  readonly md5?: string;
  readonly size?: number;
  readonly subdir?: string;
  readonly name?: string;
  readonly version?: string;
  readonly build?: string;
  /** `attestations_sha256` as it stands there (CEP 50): whoever uses it has to look whether it is a hash. */
  readonly attestations?: unknown;
}

/** Looks inside one record. Values of a wrong form count as absent: foreign indexes hold nulls and empty strings. */
export function recordFacts(record: Uint8Array): RecordFacts {
  const text = Buffer.from(record.buffer, record.byteOffset, record.length).toString("utf8");
  return factsOf(JSON.parse(text) as Record<string, unknown>);
}

/** The same of a record that is an object already; hashes may be raw bytes, as shards hold them. */
export function factsOf(record: Readonly<Record<string, unknown>>): RecordFacts {
  const facts: { -readonly [K in keyof RecordFacts]: RecordFacts[K] } = {};
  const hex = (value: unknown, digits: number): string | undefined => {
    const text = value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
    const fits = typeof text === "string" && text.length === digits && /^[0-9a-f]+$/i.test(text);
    return fits ? text.toLowerCase() : undefined;
  };
  const [sha256, md5] = [hex(record["sha256"], 64), hex(record["md5"], 32)];
  if (sha256 !== undefined) facts.sha256 = sha256;
  if (md5 !== undefined) facts.md5 = md5;
  // Shards hold numbers as two kinds of them.
  const stated = record["size"];
  const size = typeof stated === "number" || typeof stated === "bigint" ? Number(stated) : -1;
  if (Number.isSafeInteger(size) && size >= 0) facts.size = size;
  const attestations = record["attestations_sha256"];
  if (attestations !== undefined && attestations !== null) facts.attestations = attestations;
  for (const key of ["subdir", "name", "version", "build"] as const) {
    const value = record[key];
    if (typeof value === "string") facts[key] = value;
  }
  return facts;
}
