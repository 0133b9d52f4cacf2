/** What a registry wants to see (RFC 9110 §11.6.1; distribution "token authentication"). */
export type Challenge =
  | { readonly scheme: "basic" }
  | {
      readonly scheme: "bearer";
      readonly realm: string;
      readonly service: string | undefined;
      readonly scope: string | undefined;
    };

/** The first challenge of a `WWW-Authenticate` header that we can answer; undefined where there is none. */
export function parseChallenge(header: string | undefined): Challenge | undefined {
  if (header === undefined) return undefined;
  const found = /(?:^|,\s*)(basic|bearer)(?:\s+|$)/i.exec(header);
  if (!found) return undefined;
  if (found[1]?.toLowerCase() === "basic") return { scheme: "basic" };
  const said = new Map<string, string>();
  for (const [, key, quoted, plain] of header
    .slice(found.index + found[0].length)
    .matchAll(/([a-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/gi))
    if (!said.has((key as string).toLowerCase()))
      said.set(
        (key as string).toLowerCase(),
        quoted === undefined ? (plain as string) : quoted.replace(/\\(.)/g, "$1"),
      );
  const realm = said.get("realm");
  return realm === undefined
    ? undefined
    : { scheme: "bearer", realm, service: said.get("service"), scope: said.get("scope") };
}
