import { parse } from "yaml";

/** A recipe's `source` is some lines; what is larger is an attack on the YAML parser. */
const MAX_SOURCE = 64 * 1024;

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
    const source = (parse(block, { maxAliasCount: 0, logLevel: "silent" }) as { source?: unknown } | null)?.source;
    if (typeof source !== "object" || source === null || Array.isArray(source)) return {};
    const { url, git_url } = source as { url?: unknown; git_url?: unknown };
    return { ...(url ? { source_url: url } : {}), ...(git_url ? { source_git_url: git_url } : {}) };
  } catch {
    return {};
  }
}
