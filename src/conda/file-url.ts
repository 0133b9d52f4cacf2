import { fileURLToPath } from "node:url";
import { UsageError } from "../errors.ts";

/**
 * The path that a `file:` URL names; any other text as it is.
 * @param code of the error
 * @throws UsageError for one that names none
 */
export function pathOf(text: string, code: "BAD_SOURCE" | "BAD_TARGET" = "BAD_SOURCE"): string {
  if (!/^file:/i.test(text)) return text;
  try {
    return fileURLToPath(text);
  } catch (e) {
    throw new UsageError(code, {
      what: `${text}: names no file of this machine`,
      why: (e as Error).message,
      next: "write file:///folder/file with three slashes, or give the path as it is",
      cause: e,
    });
  }
}
