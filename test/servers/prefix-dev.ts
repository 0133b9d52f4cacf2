import {
  type Answer,
  type Asked,
  hashOf,
  inspect,
  type Protocol,
  partsOf,
  type ServiceServer,
  serve,
} from "./service.ts";

/** prefix.dev's upload API, and the channel that it serves. */
export const prefixDev: Protocol & { minted: string; idTokens: string[] } = {
  type: "prefix-dev",
  key: "pfx-secret-key-0123456789",
  expiredKey: "pfx-expired-key-987654321",
  /** What the last id token was changed for; a key as good as the other. */
  minted: "",
  idTokens: [],
  channel: (url) => ({ target: `${url}/channels/mine`, unknownTarget: `${url}/channels/nobodys` }),
  env: (url, key) => ({ PREFIX_SERVER_URL: url, PREFIX_API_KEY: key }),
  brings: ({ method, path }) => method === "POST" && path.startsWith("/api/v1/upload/"),
  async carry(asked, state) {
    if (asked.path === "/api/oidc/mint_token" && asked.method === "POST") return mint(asked);
    const { authorization } = asked.headers;
    const known = [prefixDev.key, prefixDev.minted].filter((k) => k !== "").map((k) => `Bearer ${k}`);
    if (authorization === undefined || !known.includes(authorization))
      return { status: 401, body: { message: "the token is not valid" } };
    if (asked.method === "GET") return serve(asked.path.replace(/^\/mine\//, ""), state);
    return upload(asked, state);
  },
};

function mint({ headers, body }: Asked): Answer {
  const { token } = JSON.parse(body.toString("utf8")) as { token?: string };
  if (headers["content-type"] !== "application/json" || headers.authorization !== undefined) return { status: 400 };
  if (token === undefined || !prefixDev.idTokens.includes(token))
    return { status: 403, body: { message: "unknown job" } };
  prefixDev.minted = `pfx-minted-key-${Math.random().toString(36).slice(2)}`;
  return { status: 200, body: Buffer.from(prefixDev.minted) };
}

async function upload(asked: Asked, state: ServiceServer): Promise<Answer> {
  const channel = /^\/api\/v1\/upload\/(.+)$/.exec(asked.path)?.[1];
  if (channel !== "mine") return { status: 404, body: { message: `no channel ${channel}` } };
  const parts = partsOf(asked);
  const [file, attestation, ...more] = parts ?? [];
  if (!file || more.length > 0 || file.name !== "file" || (attestation && attestation.name !== "attestation"))
    return { status: 400, body: { message: "the form is not right" } };
  if (file.body.length > state.maxBytes) return { status: 413, body: { message: "too large" } };
  const { headers, body } = file;
  const wrong =
    headers["content-type"] !== "application/octet-stream" ||
    headers["content-length"] !== String(body.length) ||
    headers["x-file-name"] !== file.fileName;
  if (wrong) return { status: 400, body: { message: "the headers of the file are not right" } };
  // Damage on the way is seen by the hash. It is the server that could not take it: the same may succeed later.
  if (headers["x-file-sha256"] !== hashOf("sha256", body)) return { status: 500, body: { message: "hash mismatch" } };
  const one = await inspect(file.fileName ?? "", body);
  if (!one) return { status: 422, body: { message: "not a conda package" } };
  const path = `${one.subdir}/${one.fileName}`;
  if (state.stored.has(path) && asked.query.get("force") !== "true")
    return { status: 409, body: { message: "package already exists" } };
  state.stored.set(path, one);
  return { status: 200 };
}
