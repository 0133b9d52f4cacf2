/** What bzip2 itself writes at most; its decoder reads 20. */
export const MAX_LENGTH = 17;

/** How many different symbols a block has at most: 255 places in the list, two for runs, and the end. */
const MAX_SYMBOLS = 258;

const keys = new Int32Array(MAX_SYMBOLS);
const tree = new Int32Array(MAX_SYMBOLS);

/**
 * Lengths of a Huffman code, of at most 17 bits. Symbols that don't occur get one as well: the format has no way to
 * leave them out.
 * @param counts how often each symbol occurs: two or more symbols, less than a million each.
 */
export function codeLengths(counts: Int32Array, lengths: Uint8Array): void {
  const n = counts.length;
  for (let scale = 0; ; scale++) {
    // Weight and symbol in one number, so that equal weights are in the same order everywhere.
    for (let s = 0; s < n; s++)
      keys[s] = ((((counts[s] as number) >> scale) + (scale > 0 || !counts[s] ? 1 : 0)) << 9) | s;
    const sorted = keys.subarray(0, n).sort();
    for (let i = 0; i < n; i++) tree[i] = (sorted[i] as number) >> 9;
    depths(n);
    // Halved weights differ less, and so do the lengths.
    if ((tree[0] as number) > MAX_LENGTH) continue;
    for (let i = 0; i < n; i++) lengths[(sorted[i] as number) & 511] = tree[i] as number;
    return;
  }
}

/** Turns weights in rising order into code lengths (Moffat, Katajainen: In-place calculation of minimum-redundancy codes, 1995). */
function depths(n: number): void {
  // From the left: weights of leaves become those of inner nodes, and these the places of their parents.
  let leaf = 0;
  let root = 0;
  for (let next = 0; next < n - 1; next++) {
    let weight = 0;
    for (let child = 0; child < 2; child++) {
      if (leaf >= n || (root < next && (tree[root] as number) < (tree[leaf] as number))) {
        weight += tree[root] as number;
        tree[root++] = next;
      } else weight += tree[leaf++] as number;
    }
    tree[next] = weight;
  }
  // From the right: places of parents become depths.
  tree[n - 2] = 0;
  for (let next = n - 3; next >= 0; next--) tree[next] = (tree[tree[next] as number] as number) + 1;
  // From the right: depths of inner nodes become those of leaves.
  let free = 1;
  let used = 0;
  let depth = 0;
  root = n - 2;
  for (let next = n - 1; free > 0; depth++) {
    for (; root >= 0 && tree[root] === depth; root--) used++;
    for (; free > used; free--) tree[next--] = depth;
    free = 2 * used;
    used = 0;
  }
}
