import { UsageError } from "../errors.ts";

/**
 * The regular expression of `--src-path` and of filters. JavaScript's own, and what other engines write otherwise: `(?i)` and
 * the like in front, `(?P<name>…)`, `\A` and `\z` at the ends.
 * @throws UsageError BAD_FLAG
 */
export function memberPattern(text: string, flag = "--src-path"): RegExp {
  const flags = /^\(\?([ims]+)\)/.exec(text);
  try {
    const bare = flags ? text.slice(flags[0].length) : text;
    const own = bare.replaceAll("(?P<", "(?<").replace(/^\\A/, "^").replace(/\\z$/, "$");
    return new RegExp(own, flags?.[1]);
  } catch (e) {
    throw new UsageError("BAD_FLAG", {
      what: `${flag} ${text}`,
      why: (e as Error).message,
      next: "give a regular expression, such as 'linux-64/.*\\.conda$'",
      cause: e,
    });
  }
}
