import { createServer } from "node:http";
import { listening } from "./listening.ts";

/** A server that can do nothing, and repeats in every answer what it was sent. */
export interface EchoingServer {
  readonly host: string;
  readonly url: string;
  /** What it answers with. */
  status: number;
  /** The `authorization` headers that came. */
  readonly proofs: Set<string>;
}

/** @param tokens what `/token` gives; with it, whoever brings no such token is sent there (distribution's token flow). */
export async function echoingServer(tokens?: string): Promise<EchoingServer> {
  const state = { status: 500, proofs: new Set<string>() };
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      const { authorization = "" } = request.headers;
      if (authorization) state.proofs.add(authorization);
      if (tokens !== undefined && request.url?.startsWith("/token")) {
        response.end(JSON.stringify({ token: tokens }));
        return;
      }
      const said = [...request.rawHeaders, request.url].join(" ").replace(/[<>&"]/g, "");
      const challenge = `Bearer realm="http://${request.headers.host}/token",service="echo"`;
      const sent = tokens !== undefined && authorization !== `Bearer ${tokens}`;
      const xml = `<Error><Code>Echo</Code><Message>you sent ${said}</Message></Error>`;
      const json = JSON.stringify({ errors: [{ code: "ECHO", message: `you sent ${said}` }] });
      response.writeHead(sent ? 401 : state.status, {
        ...(sent ? { "www-authenticate": challenge } : {}),
        "content-type": tokens === undefined ? "application/xml" : "application/json",
      });
      response.end(tokens === undefined ? xml : json);
    });
  });
  const url = await listening(server);
  return Object.assign(state, { host: new URL(url).host, url });
}
