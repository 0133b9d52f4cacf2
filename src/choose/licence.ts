/**
 * Whether a licence expression holds when each licence in it is held to a test: one of the alternatives of `OR` (or `|`, as
 * old R packages have it), every part of `AND`, whatever `WITH` excepts (SPDX 2.3 annex D). Text that is no expression is one
 * licence.
 */
export function licenceHolds(expression: string, test: (licence: string) => boolean): boolean {
  const tokens = expression.match(/[()|]|[^\s()|]+/g) ?? [];
  let at = 0;
  const isWord = (token: string | undefined, word: string) => token?.toUpperCase() === word;
  const one = (depth: number): boolean => {
    if (tokens[at] === "(" && depth < 32) {
      at++;
      const holds = either(depth + 1);
      if (tokens[at] === ")") at++;
      return holds;
    }
    const words: string[] = [];
    while (at < tokens.length && !/^(?:[()|]|AND|OR)$/i.test(tokens[at] as string)) words.push(tokens[at++] as string);
    // A parenthesis that is none of ours, as in "Apache License (== 2.0)": then the whole is one licence.
    if (words.length === 0) at++;
    const text = words.join(" ");
    return test(text) || test(text.replace(/ WITH .*$/i, ""));
  };
  const all = (depth: number): boolean => {
    let holds = one(depth);
    while (isWord(tokens[at], "AND")) {
      at++;
      holds = one(depth) && holds;
    }
    return holds;
  };
  const either = (depth: number): boolean => {
    let holds = all(depth);
    while (isWord(tokens[at], "OR") || tokens[at] === "|") {
      at++;
      holds = all(depth) || holds;
    }
    return holds;
  };
  const holds = either(0);
  return at < tokens.length ? test(expression) : holds;
}
