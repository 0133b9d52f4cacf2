import { createServer, request as send } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { after } from "node:test";
import { leaf, leafKey } from "./certificate.ts";

/** A proxy that leads every TLS connection, whatever it is for, to one plain server behind a certificate of the tests' authority. */
export interface TlsFront {
  /** For HTTPS_PROXY. */
  readonly proxy: string;
  /** "METHOD path" of each request that came through. */
  readonly requests: string[];
}

/** @param host of the plain server, with its port. */
export async function tlsFront(host: string): Promise<TlsFront> {
  const [hostname, port] = host.split(":");
  const requests: string[] = [];
  const front = createTlsServer({ cert: leaf, key: leafKey }, (request, response) => {
    const { method, url: path, headers } = request;
    requests.push(`${method} ${path}`);
    const own = send({ hostname, port, path, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    own.on("error", () => response.destroy());
    request.pipe(own);
  });
  const proxy = createServer();
  proxy.on("connect", (_request, socket, head) => {
    const through = connect((front.address() as AddressInfo).port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      through.write(head);
      through.pipe(socket).pipe(through);
    });
    through.on("error", () => socket.destroy());
    socket.on("error", () => through.destroy());
  });
  for (const server of [front, proxy]) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    after(() => {
      server.closeAllConnections();
      server.close();
    });
  }
  return { proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, requests };
}
