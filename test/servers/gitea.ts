import { wholeBody } from "./quetz.ts";
import { inspect, type Protocol, serve } from "./service.ts";

const token = "gitea-secret-token-0123456789";

/** Gitea's Conda registry, and the part of its API that removes versions. */
export const gitea: Protocol = {
  type: "gitea",
  key: token,
  expiredKey: "gitea-expired-token-987654321",
  channel: (url) => ({
    target: `${url}/api/packages/me/conda/mine`,
    unknownTarget: `${url}/api/packages/nobody/conda/mine`,
  }),
  env: (url, key) => ({ GITEA_SERVER_URL: url, GITEA_TOKEN: key }),
  brings: ({ method }) => method === "PUT",
  async carry(asked, state) {
    const problem = (status: number, message: string) => ({ status, body: { reason: "", message } });
    const basic = `Basic ${Buffer.from(`${token}:x-oauth-basic`).toString("base64")}`;
    if (asked.headers.authorization !== basic) return problem(401, "authentication required");
    const [, name, version, files] =
      /^\/api\/v1\/packages\/me\/conda\/mine\/([^/]+)\/([^/]+?)(\/files)?$/.exec(asked.path) ?? [];
    if (name !== undefined) {
      const of = [...state.stored].filter(([, s]) => s.name === name && s.version === version);
      if (of.length === 0) return problem(404, "package does not exist");
      if (asked.method === "GET" && files)
        return { status: 200, body: of.map(([, s], id) => ({ id, name: s.fileName, sha256: s.sha256 })) };
      if (asked.method !== "DELETE" || files) return problem(405, "method not allowed");
      for (const [path] of of) state.stored.delete(path);
      return { status: 204 };
    }
    const [, owner, path] = /^\/api\/packages\/([^/]+)\/conda\/mine\/(.+)$/.exec(asked.path) ?? [];
    if (owner !== "me" || path === undefined) return problem(404, "user does not exist");
    if (asked.method === "GET") return serve(path, state);
    if (asked.method !== "PUT") return problem(405, "method not allowed");
    if (asked.body.length > state.maxBytes) return problem(413, "larger than the limit");
    if (!wholeBody(asked)) return problem(400, "no body");
    const one = await inspect(path, asked.body);
    // The server reads the whole package; one that is damaged it takes for its own trouble.
    if (!one) return problem(500, "invalid package");
    const at = `${one.subdir}/${path}`;
    if (state.stored.has(at)) return problem(409, "package file already exists");
    state.stored.set(at, one);
    return { status: 201 };
  },
};
