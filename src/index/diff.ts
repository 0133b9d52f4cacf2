import { nameIn } from "./record-names.ts";
import { type Entries, keyAt, nth, RECORD_MAPS, type Repodata, SPAN } from "./repodata.ts";

/**
 * The names of packages, in lower case, whose records are not the same in two indexes: byte for byte, in the same maps,
 * and as to `removed`. One walk along both; records that are equal are compared and not looked into.
 */
export function differingNames(a: Repodata, b: Repodata): Set<string> {
  const names = new Set<string>();
  const note = (record: Uint8Array) => {
    const name = nameIn(record);
    if (name !== undefined) names.add(name);
  };
  const valueIn = ({ bytes }: Repodata, { spans }: Entries, entry: number) =>
    bytes.subarray(spans[entry * SPAN + 2], spans[entry * SPAN + 3]);
  for (const map of RECORD_MAPS) {
    const [left, right] = [a.maps[map], b.maps[map]];
    let [i, j] = [0, 0];
    while (i < left.count || j < right.count) {
      const x = i < left.count ? nth(left, i) : -1;
      const y = j < right.count ? nth(right, j) : -1;
      const [l, r] = [x < 0 ? undefined : keyAt(a.bytes, left, x), y < 0 ? undefined : keyAt(b.bytes, right, y)];
      if (r === undefined || (l !== undefined && l < r)) {
        note(valueIn(a, left, x));
        i++;
      } else if (l === undefined || r < l) {
        note(valueIn(b, right, y));
        j++;
      } else {
        const [before, after] = [valueIn(a, left, x), valueIn(b, right, y)];
        if (Buffer.compare(before, after) !== 0) {
          note(before);
          note(after);
        }
        i++;
        j++;
      }
    }
  }
  const [gone, come] = [new Set(a.removed), new Set(b.removed)];
  for (const fileName of [...gone, ...come]) {
    if (gone.has(fileName) === come.has(fileName)) continue;
    const name = /^(.+)-[^-]+-[^-]+$/.exec(fileName)?.[1];
    if (name !== undefined) names.add(name.toLowerCase());
  }
  return names;
}
