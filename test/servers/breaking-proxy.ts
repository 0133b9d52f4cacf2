import { connect, createServer, type Socket } from "node:net";
import { after } from "node:test";

export interface BreakingProxy {
  readonly url: string;
  /** Connections that it broke. */
  broken: number;
  /** The share of connections that break soon, each after some bytes of its own. */
  share: number;
}

/**
 * A TCP proxy on 127.0.0.1 that breaks connections at random: some after bytes that go to the server, some after bytes that
 * come back, so that a request is cut or its answer is lost. The same seed breaks after the same numbers of bytes.
 * @param share of connections that break soon; the others do later.
 * @param most bytes that a connection carries which breaks soon.
 */
export async function breakingProxy(to: string, { share, most, seed }: { share: number; most: number; seed: number }) {
  const target = new URL(to);
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const open = new Set<Socket>();
  const proxy: Omit<BreakingProxy, "url"> = { broken: 0, share };
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    const doomed = random() < proxy.share;
    const inAnswer = random() < 0.5;
    // Many break early: in the first request, or in its answer.
    let left = Math.ceil(doomed ? most * random() ** 3 : most * (8 + 8 * random()));
    const end = () => {
      client.destroy();
      upstream.destroy();
      open.delete(client);
      open.delete(upstream);
    };
    const carry = (from: Socket, into: Socket, counted: boolean) => {
      from.on("data", (bytes) => {
        if (counted) left -= bytes.length;
        if (left <= 0) {
          proxy.broken++;
          left = Number.POSITIVE_INFINITY;
          // Of a request the server gets a part; of an answer the client gets nothing more.
          if (!inAnswer) into.write(bytes.subarray(0, bytes.length >> 1));
          setImmediate(end);
          return;
        }
        if (!into.write(bytes)) {
          from.pause();
          into.once("drain", () => from.resume());
        }
      });
      from.on("error", end).on("close", end);
      open.add(from);
    };
    // Bytes of requests are many, those of answers few.
    if (inAnswer) left = Math.ceil(left / 200);
    carry(client, upstream, !inAnswer);
    carry(upstream, client, inAnswer);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return Object.assign(proxy, { url: `http://127.0.0.1:${(server.address() as { port: number }).port}` });
}
