/** One record of an index: the file it describes, and the record's JSON as it stands in the index. */
export interface IndexRecord {
  readonly fileName: string;
  /** UTF-8 JSON of one object. May share the memory of a whole index: copy it to keep it. */
  readonly record: Uint8Array;
}
