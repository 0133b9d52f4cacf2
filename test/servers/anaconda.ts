import {
  type Answer,
  type Asked,
  hashOf,
  inspect,
  type Protocol,
  partsOf,
  type ServiceServer,
  type Stored,
  serve,
} from "./service.ts";

const FIELDS = { key: "staged/1", policy: "policy-secret-0123456789", "x-amz-signature": "signature-secret-0123" };

interface Staged {
  readonly path: string;
  readonly sha256: string;
  readonly id: string;
  file?: Stored;
}

/** anaconda.org: its API below /api, its storage below /storage, its channels beside them. */
export function anaconda(): Protocol {
  const packages = new Set<string>();
  const releases = new Set<string>();
  const staged = new Map<string, Staged>();
  const key = "anaconda-secret-key-0123456789";
  const attributes = (json: Record<string, unknown>, more: string[]) =>
    typeof json["public_attrs"] === "object" && more.every((m) => m in json);

  async function api(asked: Asked, path: string, state: ServiceServer): Promise<Answer | undefined> {
    if (asked.headers.authorization !== `token ${key}`) return { status: 401, body: { error: "invalid token" } };
    if (asked.headers["x-binstar-api-version"] !== "1.12.2" || asked.headers.accept !== "application/json")
      return { status: 400, body: { error: "the client is too old" } };
    const [kind, owner, name = "", version = "", subdir, fileName] = path.split("/");
    if (owner !== "me") return { status: 404, body: { error: `user ${owner} does not exist` } };
    const json = asked.body.length > 0 ? (JSON.parse(asked.body.toString("utf8")) as Record<string, unknown>) : {};
    if (asked.body.length > 0 && asked.headers["content-type"] !== "application/json") return { status: 415 };
    const inChannel = `${subdir}/${fileName}`;
    switch (`${asked.method} ${kind}`) {
      case "GET package":
        return packages.has(name) ? { status: 200 } : { status: 404, body: { error: "no such package" } };
      case "GET release":
        return releases.has(`${name}/${version}`) ? { status: 200 } : { status: 404, body: { error: "no release" } };
      case "POST package":
      case "PATCH package": {
        const types = (json["public_attrs"] as { package_types?: string[] } | undefined)?.package_types;
        const right = attributes(json, ["public", "publish"]) && types?.[0] === "conda";
        if (!right || packages.has(name) !== (asked.method === "PATCH")) return { status: 400 };
        packages.add(name);
        return { status: 200 };
      }
      case "POST release":
      case "PATCH release": {
        // A new one has the attributes themselves, a known one has them apart.
        const apart = asked.method === "PATCH";
        const known = ["requirements", "announce", "description"].every((m) => m in json);
        const right = known && "public_attrs" in json === apart && packages.has(name);
        if (!right || releases.has(`${name}/${version}`) !== (asked.method === "PATCH")) return { status: 400 };
        releases.add(`${name}/${version}`);
        return { status: 200 };
      }
      case "POST stage": {
        if (!releases.has(`${name}/${version}`)) return { status: 404, body: { error: "no release" } };
        const attrs = json["attrs"] as { subdir?: string } | undefined;
        const channels = (json["channels"] as string[] | undefined)?.join();
        if (json["distribution_type"] !== "conda" || attrs?.subdir !== subdir || channels !== "dev")
          return { status: 400 };
        if (state.stored.has(inChannel)) return { status: 409, body: { error: "file already exists" } };
        const id = `dist-${staged.size}`;
        staged.set(id, { path: inChannel, sha256: String(json["sha256"]), id });
        const post_url = `${state.url}/storage/${id}`;
        return { status: 200, body: { post_url, form_data: FIELDS, dist_id: id } };
      }
      case "POST commit": {
        const one = staged.get(String(json["dist_id"]));
        if (!one?.file || one.path !== inChannel) return { status: 400, body: { error: "nothing is staged" } };
        state.stored.set(inChannel, one.file);
        return { status: 200 };
      }
      case "GET dist": {
        const one = state.stored.get(inChannel);
        if (!one) return { status: 404, body: { error: "no such file" } };
        return { status: 200, body: { md5: one.md5, sha256: one.sha256, size: one.bytes.length, labels: ["dev"] } };
      }
      case "DELETE dist": {
        if (!state.stored.delete(inChannel)) return { status: 404 };
        // What is empty goes too.
        releases.delete(`${name}/${version}`);
        packages.delete(name);
        return { status: 201 };
      }
      default:
        return undefined;
    }
  }

  async function storage(asked: Asked, id: string, state: ServiceServer): Promise<Answer> {
    const one = staged.get(id);
    const parts = partsOf(asked) ?? [];
    const file = parts.at(-1);
    const fields = Object.fromEntries(parts.slice(0, -1).map((p) => [p.name, p.body.toString("utf8")]));
    // As S3 has it: two ways of proving who one is are one too many.
    if (asked.headers.authorization !== undefined) return { status: 400, body: { message: "only one auth mechanism" } };
    if (!one || file?.name !== "file") return { status: 400, body: { message: "the file has to be the last part" } };
    if (file.body.length > state.maxBytes) return { status: 413, body: { message: "EntityTooLarge" } };
    const { "Content-Length": length, "Content-MD5": md5, ...rest } = fields;
    if (JSON.stringify(rest) !== JSON.stringify(FIELDS)) return { status: 403, body: { message: "wrong signature" } };
    const right = md5 === Buffer.from(hashOf("md5", file.body), "hex").toString("base64");
    if (!right || length !== String(file.body.length)) return { status: 400, body: { message: "BadDigest" } };
    const fileName = one.path.split("/")[1] as string;
    const inspected = await inspect(fileName, file.body);
    if (!inspected || inspected.sha256 !== one.sha256) return { status: 400, body: { message: "BadDigest" } };
    one.file = inspected;
    return { status: 204 };
  }

  return {
    type: "anaconda",
    key,
    expiredKey: "anaconda-expired-key-987654321",
    channel: (url) => ({ target: `${url}/me/label/dev`, unknownTarget: `${url}/nobody/label/dev` }),
    env: (url, k) => ({ ANACONDA_SERVER_URL: `${url}/api`, ANACONDA_API_KEY: k }),
    brings: ({ path }) => path.startsWith("/storage/"),
    async carry(asked, state) {
      const [, room, rest] = /^\/(api|storage)\/(.+)$/.exec(asked.path) ?? [];
      if (room === "api") return api(asked, rest as string, state);
      if (room === "storage") return storage(asked, rest as string, state);
      const [, k, path] = /^\/t\/([^/]+)\/me\/label\/dev\/(.+)$/.exec(asked.path) ?? [];
      if (k !== undefined && k !== key) return { status: 401, body: { error: "invalid token" } };
      return path === undefined ? undefined : serve(path, state);
    },
  };
}
