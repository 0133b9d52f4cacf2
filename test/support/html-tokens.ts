import assert from "node:assert/strict";

/** A piece of a page: a tag with its attributes, or text between tags, entities decoded. */
export type HtmlToken =
  | { readonly tag: string; readonly attributes: ReadonlyMap<string, string> }
  | { readonly end: string }
  | { readonly text: string };

const TAG = /<([a-z][a-z0-9]*)((?: [a-z-]+(?:="[^"<>]*"|=[0-9]+)?)*)>/y;
const END = /<\/([a-z][a-z0-9]*)>/y;
const TEXT = /[^<>]+/y;
const ENTITY: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" };

/**
 * Reads a page by rules far stricter than a browser's: tags in lower case, attributes quoted, no `<` or `>` and no `&`
 * but our five entities in text. Style sheet and script are one text each. Anything else is an assertion's failure, so
 * that text which got into a page unescaped can't go by.
 */
export function htmlTokens(page: string): HtmlToken[] {
  const prefix = "<!DOCTYPE html>";
  assert.ok(page.startsWith(prefix));
  const tokens: HtmlToken[] = [];
  let at = prefix.length;
  const take = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const found = pattern.exec(page);
    if (found) at = pattern.lastIndex;
    return found;
  };
  while (at < page.length) {
    const tag = take(TAG);
    if (tag) {
      const name = tag[1] as string;
      const pairs = [...(tag[2] as string).matchAll(/ ([a-z-]+)(?:="([^"]*)"|=([0-9]+))?/g)];
      const attributes = pairs.map((p) => [p[1] as string, decoded(p[2] ?? p[3] ?? "")] as const);
      assert.equal(new Set(attributes.map(([key]) => key)).size, attributes.length, `an attribute twice: ${tag[0]}`);
      tokens.push({ tag: name, attributes: new Map(attributes) });
      if (name === "style" || name === "script") {
        const end = page.indexOf(`</${name}`, at);
        tokens.push({ text: page.slice(at, end) });
        at = end;
      }
      continue;
    }
    const end = take(END);
    if (end) {
      tokens.push({ end: end[1] as string });
      continue;
    }
    const text = take(TEXT);
    assert.ok(text, `no markup of ours at ${at}: ${JSON.stringify(page.slice(at, at + 80))}`);
    tokens.push({ text: decoded(text[0]) });
  }
  return tokens;
}

/** The text of a page, without style sheet and script. */
export function textOf(tokens: readonly HtmlToken[]): string {
  let inside = "";
  let out = "";
  for (const token of tokens) {
    if ("tag" in token) inside = token.tag;
    else if ("end" in token) inside = "";
    else if (inside !== "style" && inside !== "script") out += token.text;
  }
  return out;
}

/** The values of an attribute, in order. */
export function attributesOf(tokens: readonly HtmlToken[], name: string): string[] {
  return tokens.flatMap((t) => ("tag" in t && t.attributes.has(name) ? [t.attributes.get(name) as string] : []));
}

function decoded(text: string): string {
  return text.replace(/&([^;]*);?/g, (all, name: string) => {
    const character = all.endsWith(";") ? ENTITY[name] : undefined;
    assert.ok(character !== undefined, `a bare ampersand: ${text.slice(0, 200)}`);
    return character;
  });
}
