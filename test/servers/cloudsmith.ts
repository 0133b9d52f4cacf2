import {
  type Answer,
  type Asked,
  hashOf,
  inspect,
  type Protocol,
  partsOf,
  type ServiceServer,
  type Stored,
} from "./service.ts";

const FIELDS = { key: "uploads/1", policy: "policy-secret-9876543210", signature: "signature-secret-9876" };

interface Slot {
  readonly fileName: string;
  readonly md5: string;
  readonly inParts: boolean;
  readonly parts: Map<number, Buffer>;
  bytes?: Buffer;
}

/** Cloudsmith: its API below /v1, its storage below /storage. Packages are looked into after they were made. */
export function cloudsmith(): Protocol {
  const key = "cloudsmith-secret-key-0123456789";
  const slots = new Map<string, Slot>();
  const made = new Map<string, { looks: number; one: Stored | undefined; republish: boolean; path: string }>();

  async function api(asked: Asked, path: string, state: ServiceServer): Promise<Answer | undefined> {
    if (asked.headers["x-api-key"] !== key) return { status: 401, body: { detail: "Invalid API key." } };
    const json = asked.body.length > 0 ? (JSON.parse(asked.body.toString("utf8")) as Record<string, unknown>) : {};
    const [, kind, owner, rest] = /^(files|packages)\/([^/]+)\/mine\/(.*)$/.exec(path) ?? [];
    if (owner !== "me") return { status: 404, body: { detail: "Not found." } };
    const slug = /^(pkg-\d+)\/(status\/)?$/.exec(rest as string);
    if (kind === "files" && rest === "" && asked.method === "POST") {
      const { filename, md5_checksum, sha256_checksum, method } = json;
      if (!/^[0-9a-f]{64}$/.test(String(sha256_checksum))) return { status: 422 };
      if (
        typeof filename !== "string" ||
        typeof md5_checksum !== "string" ||
        !/^(post|put_parts)$/.test(String(method))
      )
        return { status: 422, body: { detail: "the fields are not right" } };
      const id = `slot-${slots.size}`;
      slots.set(id, { fileName: filename, md5: md5_checksum, inParts: method === "put_parts", parts: new Map() });
      return { status: 201, body: { identifier: id, upload_url: `${state.url}/storage/${id}`, upload_fields: FIELDS } };
    }
    const ending = /^(slot-\d+)\/complete\/$/.exec(rest as string)?.[1];
    if (kind === "files" && ending !== undefined && asked.method === "POST") {
      const slot = slots.get(ending);
      if (!slot || json["upload_id"] !== ending || json["complete"] !== true) return { status: 400 };
      const numbers = [...slot.parts.keys()].sort((a, b) => a - b);
      if (!numbers.every((n, i) => n === i + 1)) return { status: 400, body: { detail: "a part is missing" } };
      const bytes = Buffer.concat(numbers.map((n) => slot.parts.get(n) as Buffer));
      if (hashOf("md5", bytes) !== slot.md5) return { status: 400, body: { detail: "wrong checksum" } };
      slot.bytes = bytes;
      return { status: 200 };
    }
    if (kind === "packages" && rest === "upload/conda/" && asked.method === "POST") {
      const slot = slots.get(String(json["package_file"]));
      if (typeof json["republish"] !== "boolean") return { status: 422, body: { detail: "republish is not said" } };
      if (!slot?.bytes) return { status: 400, body: { detail: "there is no such file" } };
      const one = await inspect(slot.fileName, slot.bytes);
      const id = `pkg-${made.size}`;
      made.set(id, { looks: 0, one, republish: json["republish"] === true, path: `${one?.subdir}/${slot.fileName}` });
      return { status: 201, body: { slug_perm: id, slug: id } };
    }
    const entry = slug ? made.get(slug[1] as string) : undefined;
    if (kind === "packages" && entry && asked.method === "DELETE" && !slug?.[2]) {
      made.delete(slug?.[1] as string);
      return { status: 204 };
    }
    if (kind === "packages" && entry && asked.method === "GET") {
      if (entry.looks++ === 0) return { status: 200, body: { is_sync_completed: false, is_sync_failed: false } };
      const failed = (status_reason: string) => ({ status: 200, body: { is_sync_failed: true, status_reason } });
      if (!entry.one) return failed("the package can't be read");
      if (state.stored.has(entry.path) && !entry.republish) return failed("This package is a duplicate of another.");
      state.stored.set(entry.path, entry.one);
      return { status: 200, body: { is_sync_completed: true, is_sync_failed: false } };
    }
    if (kind === "packages" && rest === "" && asked.method === "GET") {
      const fileName = /^filename:\^(.+)\$$/.exec(asked.query.get("query") ?? "")?.[1];
      const found = state.late ? [] : [...state.stored.values()].filter((s) => s.fileName === fileName);
      const list = found.map((s) => ({
        filename: s.fileName,
        checksum_sha256: s.sha256,
        checksum_md5: s.md5,
        size: s.bytes.length,
        architectures: [{ name: s.subdir }],
      }));
      return { status: 200, body: list };
    }
    return undefined;
  }

  function storage(asked: Asked, id: string, state: ServiceServer): Answer {
    const slot = slots.get(id);
    if (!slot || asked.headers.authorization !== undefined)
      return { status: 400, body: { message: "InvalidArgument" } };
    if (slot.inParts) {
      const part = asked.query.get("part_number");
      if (asked.headers["x-api-key"] !== key) return { status: 401, body: { detail: "Invalid API key." } };
      const right = asked.method === "PUT" && asked.query.get("upload_id") === id && part !== null;
      if (!right || Number(asked.headers["content-length"]) !== asked.body.length) return { status: 400 };
      slot.parts.set(Number(part), asked.body);
      return { status: 200 };
    }
    const parts = partsOf(asked) ?? [];
    const file = parts.at(-1);
    const fields = Object.fromEntries(parts.slice(0, -1).map((p) => [p.name, p.body.toString("utf8")]));
    if (asked.headers["x-api-key"] !== undefined)
      return { status: 400, body: { message: "the key has no business here" } };
    if (file?.name !== "file" || JSON.stringify(fields) !== JSON.stringify(FIELDS))
      return { status: 403, body: { message: "AccessDenied" } };
    if (file.body.length > state.maxBytes) return { status: 413, body: { message: "EntityTooLarge" } };
    if (hashOf("md5", file.body) !== slot.md5) return { status: 400, body: { message: "BadDigest" } };
    slot.bytes = file.body;
    return { status: 204 };
  }

  return {
    type: "cloudsmith",
    key,
    expiredKey: "cloudsmith-expired-key-987654321",
    channel: () => ({ target: "cloudsmith://me/mine", unknownTarget: "cloudsmith://nobody/mine" }),
    env: (url, k) => ({ CLOUDSMITH_API_URL: `${url}/v1`, CLOUDSMITH_API_KEY: k }),
    brings: ({ path }) => path.startsWith("/storage/"),
    async carry(asked, state) {
      const [, room, rest] = /^\/(v1|storage)\/(.+)$/.exec(asked.path) ?? [];
      if (room === "v1") return api(asked, rest as string, state);
      return room === "storage" ? storage(asked, rest as string, state) : undefined;
    },
  };
}
