import { parentPort } from "node:worker_threads";
import { sendError } from "../errors.ts";
import { Reception } from "./reception.ts";
import type { FromWorker, Received, ToWorker } from "./worker-messages.ts";

// The message switch of the thread that hashes, reads and writes packages. Messages are handled one at a time.
const port = parentPort;
if (!port) throw new Error("this file is a worker thread's");
const receptions = new Map<number, Reception>();

async function handle(message: ToWorker): Promise<void> {
  const { id } = message;
  const used = "bytes" in message ? { used: message.bytes.buffer } : {};
  const post = (sent: FromWorker) => port?.postMessage(sent, "used" in used ? [used.used] : []);
  const answer = (received?: Received) => post({ id, ok: true, ...(received ? { received } : {}), ...used });
  try {
    switch (message.do) {
      case "begin":
        receptions.set(id, new Reception(message.expected, message.stagedPath));
        return;
      case "chunk":
        receptions.get(id)?.chunk(message.bytes);
        return answer();
      case "restart":
        receptions.get(id)?.restart();
        return;
      case "finish": {
        const reception = receptions.get(id);
        receptions.delete(id);
        return answer(await reception?.finish());
      }
      case "whole":
        receptions.delete(id);
        return answer(await new Reception(message.expected, message.stagedPath).whole(message.bytes));
      case "drop":
        receptions.get(id)?.drop();
        receptions.delete(id);
        return;
    }
  } catch (e) {
    receptions.get(id)?.drop();
    receptions.delete(id);
    post({ id, ok: false, error: sendError(e, "a package on its way in"), ...used });
  }
}

let queue: Promise<void> = Promise.resolve();
port.on("message", (message: ToWorker) => {
  queue = queue.then(() => handle(message));
});
