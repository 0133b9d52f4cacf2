import { elementsOf, textOf } from "../../src/s3/xml.ts";
import type { S3Server } from "../servers/s3-server.ts";

/** Every object of a bucket: key to size, ETag and time of writing. */
export async function objects(server: S3Server, bucket: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (let token: string | undefined = ""; token !== undefined; ) {
    const query: Record<string, string> = {
      "list-type": "2",
      ...(token === "" ? {} : { "continuation-token": token }),
    };
    const { body } = await server.client(bucket).request({ method: "GET", query });
    const xml = Buffer.from(body).toString();
    const fact = (one: string, name: string) => textOf(one, name) ?? "";
    for (const one of elementsOf(xml, "Contents"))
      found[fact(one, "Key")] = `${fact(one, "Size")} ${fact(one, "ETag")} ${fact(one, "LastModified")}`;
    token = textOf(xml, "IsTruncated") === "true" ? textOf(xml, "NextContinuationToken") : undefined;
  }
  return found;
}

/** Uploads in parts that were begun and not ended. @param key MinIO tells of them only by their whole key. */
export async function uploads(server: S3Server, bucket: string, key?: string): Promise<string[]> {
  const query: Record<string, string> = { uploads: "", ...(key === undefined ? {} : { prefix: key }) };
  const { body } = await server.client(bucket).request({ method: "GET", query });
  return elementsOf(Buffer.from(body).toString(), "Upload");
}

/** The notes of uploads that our runs keep while they last. */
export async function noteKeys(server: S3Server, bucket: string): Promise<string[]> {
  return Object.keys(await objects(server, bucket)).filter((key) => key.includes("/uploads/"));
}
