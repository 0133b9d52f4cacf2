import { isMap, isScalar, isSeq, parseDocument } from "yaml";

/** A recipe's `source` is some lines; what is larger is an attack on the YAML parser. */
const MAX_SOURCE = 16 * 1024;

/**
 * `source_url` and `source_git_url` of a rendered `meta.yaml`, as conda-index finds them: only a single source counts,
 * not a list of them. Nothing where the recipe can't be read: it is free text that no client depends on.
 */
export function recipeSource(recipe: Uint8Array): Record<string, unknown> {
  const lines = Buffer.from(recipe.buffer, recipe.byteOffset, recipe.length).toString("utf8").split(/\r?\n/);
  const from = lines.findIndex((line) => /^["']?source["']?\s*:/.test(line));
  if (from < 0) return {};
  // Only this block is parsed: recipes run to thousands of lines, and may hold templates elsewhere.
  let to = from + 1;
  while (to < lines.length && !/^[^\s#-]/.test(lines[to] as string)) to++;
  const block = lines.slice(from, to).join("\n");
  if (block.length > MAX_SOURCE) return {};
  try {
    // Never made objects of: a map that is the key of a map becomes text there, and 500 braces took 25 s.
    const { contents, errors } = parseDocument(block, { logLevel: "silent" });
    const source = isMap(contents) && errors.length === 0 ? contents.get("source") : undefined;
    if (!isMap(source)) return {};
    const [url, git_url] = [plain(source.get("url", true)), plain(source.get("git_url", true))];
    return { ...(url ? { source_url: url } : {}), ...(git_url ? { source_git_url: git_url } : {}) };
  } catch {
    return {};
  }
}

/** A plain value, or a list of them. */
function plain(node: unknown): unknown {
  return isSeq(node) ? node.items.map((item) => (isScalar(item) ? item.value : item)) : isScalar(node) && node.value;
}
