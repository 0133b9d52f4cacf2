import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { listening } from "./listening.ts";

export interface CarelessS3 {
  readonly url: string;
  /** Key (without the bucket) to bytes. */
  readonly objects: Map<string, Buffer>;
  /** "METHOD /path" of every request. */
  readonly requests: string[];
}

/**
 * A server that speaks a little of S3 and keeps no conditions on writes: If-None-Match and If-Match mean nothing to it, as to
 * older ones. It checks no signatures.
 */
export async function carelessS3(): Promise<CarelessS3> {
  const objects = new Map<string, Buffer>();
  const requests: string[] = [];
  const etag = (bytes: Buffer) => `"${createHash("md5").update(bytes).digest("hex")}"`;
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? "/", "http://host");
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    const key = decodeURIComponent(url.pathname).split("/").slice(2).join("/");
    requests.push(`${request.method} ${key}`);
    const there = objects.get(key);
    if (key === "" && request.method === "GET") {
      const prefix = url.searchParams.get("prefix") ?? "";
      const keys = [...objects.keys()].filter((k) => k.startsWith(prefix)).sort();
      const below = keys.filter((k) => !k.slice(prefix.length).includes("/"));
      const folders = new Set(
        keys.filter((k) => k.slice(prefix.length).includes("/")).map((k) => k.slice(prefix.length).split("/")[0]),
      );
      const contents = below.map((k) => {
        const bytes = objects.get(k) as Buffer;
        return `<Contents><Key>${k}</Key><Size>${bytes.length}</Size><ETag>${etag(bytes)}</ETag></Contents>`;
      });
      const prefixes = [...folders].map((f) => `<CommonPrefixes><Prefix>${prefix}${f}/</Prefix></CommonPrefixes>`);
      response.end(`<ListBucketResult>${contents.join("")}${prefixes.join("")}</ListBucketResult>`);
    } else if (request.method === "PUT") {
      objects.set(key, body);
      response.writeHead(200, { etag: etag(body) }).end();
    } else if (request.method === "DELETE") {
      objects.delete(key);
      response.writeHead(204).end();
    } else if (!there) {
      response.writeHead(404).end(request.method === "HEAD" ? undefined : "<Error><Code>NoSuchKey</Code></Error>");
    } else {
      response.writeHead(200, { etag: etag(there), "content-length": there.length });
      response.end(request.method === "HEAD" ? undefined : there);
    }
  });
  return { url: await listening(server), objects, requests };
}
