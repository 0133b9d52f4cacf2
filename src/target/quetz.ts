import type { ApiAnswer } from "../transfer/api.ts";
import type { TargetContext } from "./kinds.ts";
import { type Service, serviceTarget } from "./service.ts";
import { type Refusals, refusal } from "./service-answers.ts";
import { channelIndex } from "./service-index.ts";
import { badAddress, type KeySearch, neededKey, readAddress } from "./service-key.ts";
import type { Target } from "./target.ts";

/*
 * A channel on a Quetz server (quetz 0.10: quetz/main.py, post_upload):
 * POST {server}/api/channels/{channel}/upload/{file}?force=&sha256=, the file as it is, with X-API-Key.
 */

const NAME = "Quetz";
const EXAMPLE = "quetz://HOST/CHANNEL, or https://HOST/get/CHANNEL with --target-type quetz";

/** Opens a channel of a Quetz server. @throws UsageError BAD_TARGET for an address that is none, or where there is no key */
export async function openQuetz(text: string, context: TargetContext): Promise<Target> {
  const { server, channel, typed } = addressOf(text);
  const search: KeySearch = {
    service: NAME,
    server,
    typed,
    variables: ["QUETZ_API_KEY"],
    serverVariable: "QUETZ_SERVER_URL",
    stored: [server.toString()],
  };
  const key = await neededKey(search, context);
  const channelUrl = new URL(`api/channels/${channel}`, server).toString();
  const missing: ApiAnswer = {
    status: 404,
    headers: new Map(),
    body: Buffer.from(`there is no channel ${channel}`),
    url: channelUrl,
  };
  const isMissing = async (signal: AbortSignal): Promise<boolean> => {
    const headers = { "x-api-key": key };
    const told = await context.api.send({ method: "GET", url: channelUrl, headers, anonymous: true }, signal);
    return told.status === 404;
  };
  const service: Service = {
    where: new URL(`get/${channel}`, server).toString(),
    name: NAME,
    index: channelIndex(
      async (path) => {
        const url = new URL(`t/${encodeURIComponent(key)}/get/${channel}/${path}`, server);
        return { url: url.toString() };
      },
      REFUSALS.key,
      context,
    ),
    async send({ fileName, sha256, body }, replace, signal) {
      const url = new URL(`api/channels/${channel}/upload/${encodeURIComponent(fileName)}`, server);
      url.searchParams.set("force", String(replace));
      url.searchParams.set("sha256", sha256);
      const headers = { "x-api-key": key, "content-type": "application/octet-stream" };
      const answer = await context.api.send(
        { method: "POST", url: url.toString(), headers, body, anonymous: true },
        signal,
      );
      if (answer.status === 200 || answer.status === 201) return "sent";
      if (answer.status === 409 && !replace) return "exists";
      // Some versions fail so when there is no such channel (quetz 0.10.4).
      if (answer.status === 500 && (await isMissing(signal))) throw refusal(NAME, fileName, missing, REFUSALS);
      throw refusal(NAME, fileName, answer, REFUSALS);
    },
  };
  return serviceTarget(service, context);
}

const REFUSALS: Refusals = {
  key: "check that the key (QUETZ_API_KEY, --api-key, or what pixi auth login stored) may write to this channel",
  400: { error: "package", next: "see what the server says; the package is left out" },
  404: { next: "create the channel on the server first, or check its name" },
  406: { error: "hash", why: "other bytes arrived than were sent", next: "run again; check what lies between" },
  409: { next: "the server does not let it be replaced; choose --on-conflict skip" },
  422: { error: "package", next: "see what the server says; the package is left out" },
};

/** The server's address, which ends in "/", and the channel's name. */
function addressOf(text: string) {
  const { url, path, credential } = readAddress(text, "quetz", EXAMPLE);
  const marked = [["api", "channels"], ["get"], ["channels"]].find((mark) =>
    path.slice(0, -1).join("/").endsWith(mark.join("/")),
  );
  const channel = path.at(-1);
  if (channel === undefined) throw badAddress(text, "it names no channel", EXAMPLE);
  const prefix = path.slice(0, path.length - 1 - (marked?.length ?? 0));
  const server = new URL(prefix.length > 0 ? `/${prefix.join("/")}/` : "/", url);
  return { server, channel, typed: credential };
}
