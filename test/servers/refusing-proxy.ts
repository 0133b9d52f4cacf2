import { createServer, request } from "node:http";
import { listening } from "./listening.ts";

/** What is answered instead of passing a request on: a status; undefined to pass it on. */
export type Refusing = (method: string, path: string) => number | undefined;

/** Passes HTTP requests on to another server, but for those that it is to refuse. */
export async function refusingProxy(to: string): Promise<{ readonly url: string; refuse: Refusing }> {
  const { hostname, port } = new URL(to);
  const proxy = { url: "", refuse: (() => undefined) as Refusing };
  const server = createServer((asked, answer) => {
    const { method = "GET", url = "/", headers } = asked;
    const status = proxy.refuse(method, decodeURIComponent(url.split("?")[0] as string));
    if (status !== undefined) {
      asked.resume();
      const body = method === "HEAD" ? undefined : "<Error><Code>Refused</Code><Message>not now</Message></Error>";
      answer.writeHead(status).end(body);
      return;
    }
    const passed = request({ hostname, port, method, path: url, headers }, (got) => {
      answer.writeHead(got.statusCode ?? 500, got.headers);
      got.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    asked.pipe(passed);
  });
  proxy.url = await listening(server);
  return proxy;
}
