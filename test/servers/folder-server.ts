import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { listening } from "./listening.ts";

/** Serves the folders below one as they are at the moment of each request, as a web server does. Ends with the test file. */
export async function folderServer(root: string): Promise<string> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://here").pathname.split("/").map(decodeURIComponent);
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(join(root, ...path.filter((part) => part !== ".." && part !== "")));
    } catch {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-length": bytes.length }).end(request.method === "HEAD" ? undefined : bytes);
  });
  return listening(server);
}
