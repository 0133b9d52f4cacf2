import type { Duplex } from "node:stream";
import { type Agent, type buildConnector, EnvHttpProxyAgent, Pool } from "undici";
import { TransferError } from "../errors.ts";
import { redactUrl } from "./redact.ts";

/** Where the environment says that requests go through a proxy. */
export interface ProxySettings {
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  /** Hosts to which requests go directly. */
  readonly noProxy?: string;
}

/** A proxy made no way to the server. */
export class NoTunnel extends Error {
  readonly code = "NO_TUNNEL";

  constructor(why: string, cause?: unknown) {
    super(`the proxy opened no tunnel: ${why}`, { cause });
  }
}

/**
 * undici's way through proxies, but for one thing: what fails before a tunnel is open fails the requests that wait for it. undici
 * 7 takes a proxy that closes the connection instead of answering CONNECT for a server that will be back at once, and asks it
 * again without a pause and without an end (client.js: connect, where the error is UND_ERR_SOCKET); and it waits five minutes
 * for one that says nothing.
 * @param connectTimeoutMs for the connection to the proxy and its answer.
 * @throws TransferError UNREACHABLE for a proxy that is no http(s) URL
 */
export function openProxies(
  options: Agent.Options,
  proxies: ProxySettings,
  connectTimeoutMs: number,
): EnvHttpProxyAgent {
  for (const proxy of [proxies.httpProxy, proxies.httpsProxy]) if (proxy !== undefined) check(proxy);
  const factory = (origin: string | URL, opts: Pool.Options) =>
    new Pool(
      origin,
      typeof opts.connect === "function" ? { ...opts, connect: tunnelled(opts.connect, connectTimeoutMs) } : opts,
    );
  return new EnvHttpProxyAgent({ ...options, factory, noProxy: "", ...proxies } as EnvHttpProxyAgent.Options);
}

function check(proxy: string): void {
  const protocol = URL.parse(proxy)?.protocol;
  if (protocol === "http:" || protocol === "https:") return;
  throw new TransferError(
    "UNREACHABLE",
    {
      what: `the proxy ${redactUrl(proxy)}`,
      why: protocol === undefined ? "it is no URL" : `${protocol} proxies are not spoken to`,
      next: "set HTTP_PROXY and HTTPS_PROXY to http://host:port, or unset them",
    },
    { mayPass: false },
  );
}

function tunnelled(connect: buildConnector.connector, timeoutMs: number): buildConnector.connector {
  return (options, callback) => {
    let over = false;
    const fail = (error: Error) => {
      if (over) return;
      over = true;
      clearTimeout(clock);
      callback(error, null);
    };
    const clock = setTimeout(() => fail(new NoTunnel(`it said nothing for ${timeoutMs / 1000} s`)), timeoutMs);
    connect(options, (...[error, socket]) => {
      // undici's own words for a connection that broke; what a server's certificate or the system say keeps its code.
      if (error) return fail(isUndicis(error) ? new NoTunnel(error.message, error) : error);
      if (over) return void (socket as Duplex).destroy();
      over = true;
      clearTimeout(clock);
      callback(null, socket);
    });
  };
}

function isUndicis(error: NodeJS.ErrnoException): boolean {
  return error.code?.startsWith("UND_ERR_") === true;
}
