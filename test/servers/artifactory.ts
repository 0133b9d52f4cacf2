import { wholeBody } from "./quetz.ts";
import { hashOf, inspect, type Protocol, serve } from "./service.ts";

const BASE = "/artifactory";

/** Artifactory: a PUT replaces what is there, wrong checksums are a conflict, file info tells what is stored. */
export const artifactory: Protocol = {
  type: "artifactory",
  key: "artifactory-secret-0123456789",
  expiredKey: "artifactory-expired-987654321",
  channel: (url) => ({ target: `${url}${BASE}/api/conda/mine`, unknownTarget: `${url}${BASE}/nobodys` }),
  env: (url, key) => ({ ARTIFACTORY_SERVER_URL: url, ARTIFACTORY_TOKEN: key }),
  brings: ({ method }) => method === "PUT",
  async carry(asked, state) {
    const problem = (status: number, message: string) => ({ status, body: { errors: [{ status, message }] } });
    if (asked.headers.authorization !== `Bearer ${artifactory.key}`) return problem(401, "Bad props auth token");
    const path = asked.path.slice(BASE.length + 1);
    if (asked.method === "GET") {
      const [, kind, rest] = /^api\/(conda|storage)\/mine\/(.+)$/.exec(path) ?? [];
      if (kind === "conda") return serve(rest as string, state);
      const one = kind === "storage" ? state.stored.get(rest as string) : undefined;
      if (!one) return problem(404, "Unable to find item");
      return { status: 200, body: { checksums: { md5: one.md5, sha256: one.sha256 }, size: String(one.bytes.length) } };
    }
    const [, repository, subdir, fileName] = /^([^/]+)\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
    if (asked.method !== "PUT" || fileName === undefined) return undefined;
    if (repository !== "mine") return problem(404, `Could not find a repository named ${repository}`);
    if (asked.body.length > state.maxBytes) return problem(413, "the file is larger than the limit");
    if (!wholeBody(asked)) return problem(400, "no body");
    const [sha256, md5] = [asked.headers["x-checksum-sha256"], asked.headers["x-checksum-md5"]];
    if (sha256 !== hashOf("sha256", asked.body) || md5 !== hashOf("md5", asked.body))
      return problem(409, "Checksum error: received and actual checksum differ");
    const one = await inspect(fileName, asked.body);
    if (!one || one.subdir !== subdir) return problem(400, "not a conda package of this subdir");
    state.stored.set(`${subdir}/${fileName}`, one);
    return { status: 201, body: { repo: repository } };
  },
};
