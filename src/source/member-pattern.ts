import { UsageError } from "../errors.ts";

/**
 * The regular expression of `--src-path` and of filters. JavaScript's own, and `(?i)` and the like in front, as other engines write flags.
 * @throws UsageError BAD_FLAG
 */
export function memberPattern(text: string, flag = "--src-path"): RegExp {
  const flags = /^\(\?([ims]+)\)/.exec(text);
  try {
    return new RegExp(flags ? text.slice(flags[0].length) : text, flags?.[1]);
  } catch (e) {
    throw new UsageError("BAD_FLAG", {
      what: `${flag} ${text}`,
      why: (e as Error).message,
      next: "give a regular expression, such as 'linux-64/.*\\.conda$'",
      cause: e,
    });
  }
}
