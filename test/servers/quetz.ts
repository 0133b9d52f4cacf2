import { type Asked, hashOf, inspect, type Protocol, serve } from "./service.ts";

/** Quetz: uploads with a key in a header, the channel with the key in the path. */
export const quetz: Protocol = {
  type: "quetz",
  key: "quetz-secret-key-0123456789",
  expiredKey: "quetz-expired-key-987654321",
  channel: (url) => ({ target: `${url}/get/mine`, unknownTarget: `${url}/get/nobodys` }),
  env: (url, key) => ({ QUETZ_SERVER_URL: url, QUETZ_API_KEY: key }),
  brings: ({ method }) => method === "POST",
  async carry(asked, state) {
    if (asked.method === "GET") {
      if (asked.path.startsWith("/api/channels/")) {
        if (asked.headers["x-api-key"] !== quetz.key) return { status: 401, body: { detail: "Not logged in" } };
        return asked.path.endsWith("/mine") ? { status: 200 } : { status: 404, body: { detail: "Channel not found" } };
      }
      const [, key, channel, path] = /^\/t\/([^/]+)\/get\/([^/]+)\/(.+)$/.exec(asked.path) ?? [];
      if (key !== quetz.key) return { status: 401, body: { detail: "Not logged in" } };
      return channel === "mine" ? serve(path as string, state) : undefined;
    }
    const [, channel, fileName] = /^\/api\/channels\/([^/]+)\/upload\/([^/]+)$/.exec(asked.path) ?? [];
    if (fileName === undefined) return undefined;
    if (asked.body.length > state.maxBytes) return { status: 413, body: { detail: "Request Entity Too Large" } };
    const sha256 = asked.query.get("sha256");
    if (sha256 === null || !wholeBody(asked)) return { status: 422, body: { detail: "field required" } };
    if (sha256 !== hashOf("sha256", asked.body)) return { status: 406, body: { detail: "Wrong SHA256 checksum" } };
    if (asked.headers["x-api-key"] !== quetz.key) return { status: 401, body: { detail: "Not logged in" } };
    // As quetz 0.10.4 has it, with the key of somebody who may write everywhere.
    if (channel !== "mine") return { status: 500, body: Buffer.from("Internal Server Error") };
    const one = await inspect(fileName, asked.body);
    if (!one || !fileName.startsWith(`${one.name}-`))
      return { status: 400, body: { detail: "filename does not match package name" } };
    const path = `${one.subdir}/${fileName}`;
    if (state.stored.has(path) && asked.query.get("force") !== "true")
      return { status: 409, body: { detail: "Duplicate" } };
    state.stored.set(path, one);
    return { status: 201 };
  },
};

/** The file as it is, and its length told. */
export function wholeBody({ headers, body }: Asked): boolean {
  return headers["content-type"] === "application/octet-stream" && Number(headers["content-length"]) === body.length;
}
