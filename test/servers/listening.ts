import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after } from "node:test";

/** Has a server listen on a port of its own until the test has ended; gives its address, without a "/" at the end. */
export async function listening(given: Server | RequestListener): Promise<string> {
  const server = typeof given === "function" ? createServer(given) : given;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
