import type { Open } from "../transfer/place.ts";
import type { S3Client } from "./client.ts";
import { bareEtag } from "./list.ts";

/**
 * Opens an object of a bucket as any other place.
 * @param once for whoever tries again by himself.
 */
export function openS3Object(client: S3Client, key: string, once = false): Open {
  return async (request, signal) => {
    const { start = 0, end, ifVersion, unlessVersion } = request;
    const ranged = start > 0 || end !== undefined;
    const headers = {
      ...(ranged ? { range: `bytes=${start}-${end === undefined ? "" : end - 1}` } : {}),
      ...(ranged && ifVersion !== undefined ? { "if-match": `"${ifVersion}"` } : {}),
      ...(unlessVersion === undefined ? {} : { "if-none-match": `"${unlessVersion}"` }),
    };
    let response = await client.open({ method: "GET", key, headers, answers: [304, 412], once }, signal);
    if (response.status === 304) {
      response.discard();
      return "unchanged";
    }
    if (response.status === 412) {
      // Another file by now: from its start.
      response.discard();
      response = await client.open({ method: "GET", key, once }, signal);
    }
    const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
    const length = Number(response.headers.get("content-length") ?? Number.NaN);
    const size = response.status === 206 ? Number(range?.[2] ?? Number.NaN) : length;
    return {
      start: response.status === 206 ? Number(range?.[1] ?? start) : 0,
      size: Number.isNaN(size) ? undefined : size,
      version: bareEtag(response.headers.get("etag")),
      chunks: response.chunks,
      owned: response.owned,
      cancel: () => response.discard(),
    };
  };
}
