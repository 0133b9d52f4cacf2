import { compact, eachMember, JsonBytesError, skipSpace, stringAt } from "../conda/json-bytes.ts";

/** A change to one member of a JSON object. */
export interface Edit {
  readonly key: string;
  /** Given the value's bytes, if there is one, the new ones; undefined to have none. Values are compact JSON. */
  change(was: Uint8Array | undefined): Uint8Array | undefined;
}

interface Member {
  readonly key: string;
  /** With its quotes, as it stands. */
  readonly rawKey: Uint8Array;
  readonly value: Uint8Array;
}

/**
 * A JSON object with some members changed, compact; every other member keeps its bytes and its place. A new member goes
 * where the order of keys has it, or to the end when they have none. Gives the very `object` when nothing changes.
 * @throws JsonBytesError when it is no object, or a key stands twice.
 */
export function edit(object: Uint8Array, edits: readonly Edit[]): Uint8Array {
  const members = readMembers(compact(object));
  let changed = false;
  for (const { key, change } of edits) {
    const at = members.findIndex((member) => member.key === key);
    const was = members[at];
    const value = change(was?.value);
    if (value === was?.value || (value && was && Buffer.compare(value, was.value) === 0)) continue;
    changed = true;
    if (value === undefined) members.splice(at, 1);
    else if (was) members[at] = { ...was, value };
    else members.splice(placeFor(key, members), 0, { key, rawKey: Buffer.from(JSON.stringify(key)), value });
  }
  return changed ? written(members) : object;
}

function readMembers(object: Uint8Array): Member[] {
  const members: Member[] = [];
  const seen = new Set<string>();
  const end = eachMember(object, 0, (keyStart, keyEnd, valueStart, valueEnd) => {
    const key = stringAt(object, keyStart, keyEnd);
    if (seen.has(key)) throw new JsonBytesError(`key ${JSON.stringify(key)} stands twice`, keyStart);
    seen.add(key);
    members.push({ key, rawKey: object.subarray(keyStart, keyEnd), value: object.subarray(valueStart, valueEnd) });
  });
  if (skipSpace(object, end) !== object.length) throw new JsonBytesError("something follows the object", end);
  return members;
}

function placeFor(key: string, members: readonly Member[]): number {
  const inOrder = members.every((member, i) => i === 0 || (members[i - 1] as Member).key < member.key);
  const next = inOrder ? members.findIndex((member) => member.key > key) : -1;
  return next < 0 ? members.length : next;
}

function written(members: readonly Member[]): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (const { rawKey, value } of members)
    pieces.push(Buffer.from(pieces.length === 0 ? "{" : ","), rawKey, Buffer.from(":"), value);
  return Buffer.concat([...(pieces.length === 0 ? [Buffer.from("{")] : pieces), Buffer.from("}")]);
}
