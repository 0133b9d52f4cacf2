import { TransferError } from "../errors.ts";
import { multipart } from "../transfer/multipart.ts";
import { carried } from "./attestations.ts";
import type { TargetContext } from "./kinds.ts";
import { retryOf, type Service, serviceTarget, type Upload } from "./service.ts";
import { type Refusals, refusal } from "./service-answers.ts";
import { channelIndex } from "./service-index.ts";
import { badAddress, findKey, type KeySearch, noKey, readAddress, tokenOf } from "./service-key.ts";
import type { Target } from "./target.ts";
import { type TrustedPublishing, trustedPublishing } from "./trusted-publishing.ts";

/*
 * A channel on prefix.dev, or on a server that holds to its API (rattler_upload 0.7: upload/prefix.rs):
 * POST {server}/api/v1/upload/{channel}[?force=true], multipart, with a bearer token.
 */

const NAME = "prefix.dev";
const EXAMPLE = "https://prefix.dev/channels/NAME or https://prefix.dev/NAME";

/** Opens a channel of prefix.dev. @throws UsageError BAD_TARGET for an address that is none, or where there is no key */
export async function openPrefixDev(text: string, context: TargetContext): Promise<Target> {
  const { server, channel, search } = addressOf(text, context);
  const key = await keyOf(search, context);
  const channelUrl = new URL(channel, server).toString();
  // prefix.dev serves channels from another name, and redirects there: a key would be lost on the way.
  const reading = server.hostname === "prefix.dev" ? `https://repo.prefix.dev/${channel}` : channelUrl;
  const service: Service = {
    where: channelUrl,
    name: NAME,
    attests: true,
    index: channelIndex(
      async (path) => ({ url: `${reading}/${path}`, authorization: `Bearer ${await key.token()}` }),
      REFUSALS.key,
      context,
    ),
    async send(upload, replace, signal) {
      const url = new URL(`/api/v1/upload/${channel}${replace ? "?force=true" : ""}`, server).toString();
      const { contentType, body } = formOf(
        upload,
        context.attestations.of(upload) ?? (await carried(upload, retryOf(context), signal)),
      );
      const token = await key.token();
      const authorization = `Bearer ${token}`;
      const answer = await context.api.send(
        { method: "POST", url, headers: { authorization, "content-type": contentType }, body, anonymous: true },
        signal,
      );
      if (answer.status >= 200 && answer.status < 300) return "sent";
      if (answer.status === 409 && !replace) return "exists";
      if (answer.status === 401 && (await key.another(token))) {
        const why = "the key that this job was given has ended, and another was given";
        throw new TransferError("REFUSED", { what: upload.fileName, why, next: "run again" }, { mayPass: true });
      }
      throw refusal(NAME, upload.fileName, answer, REFUSALS);
    },
  };
  return serviceTarget(service, context);
}

const REFUSALS: Refusals = {
  key: "check that the key (PREFIX_API_KEY, --api-key, or what pixi auth login stored) has not ended and may write to this channel",
  400: { error: "package", next: "see what the server says; the package is left out" },
  404: { next: "create the channel on prefix.dev first, or check its name" },
  409: { next: "the server does not let it be replaced; choose --on-conflict skip" },
  422: { error: "package", next: "see what the server says; the package is left out" },
};

function formOf(upload: Upload, attestation: string | undefined) {
  const { fileName, sha256, size, body } = upload;
  const headers = {
    "Content-Type": "application/octet-stream",
    "Content-Length": String(size),
    "X-File-Name": fileName,
    "X-File-SHA256": sha256,
  };
  return multipart([
    { name: "file", fileName, headers, value: body },
    ...(attestation === undefined ? [] : [{ name: "attestation", value: attestation }]),
  ]);
}

/** A channel as people copy it: from the address bar, from pixi.toml, or its bare name. */
function addressOf(text: string, { env }: TargetContext): { server: URL; channel: string; search: KeySearch } {
  const home = env["PREFIX_SERVER_URL"] || "https://prefix.dev";
  const spelled = /^[\w.-]+(\/[\w.-]+)*$/.test(text) ? `${home.replace(/\/+$/, "")}/${text}` : text;
  const { url, path, credential } = readAddress(spelled, "prefix", EXAMPLE);
  let parts = path;
  if (parts[0] === "channels") parts = parts.slice(1);
  else if (parts.slice(0, 3).join("/") === "api/v1/upload") parts = parts.slice(3);
  const end = parts.indexOf("packages");
  if (end > 0) parts = parts.slice(0, end);
  if (parts.length === 0 || parts.length > 2) throw badAddress(text, "it names no channel", EXAMPLE);
  const server = new URL(url.origin);
  if (server.hostname === "repo.prefix.dev") server.hostname = "prefix.dev";
  const channel = parts.join("/");
  const search: KeySearch = {
    service: NAME,
    server,
    typed: credential,
    variables: ["PREFIX_API_KEY"],
    serverVariable: "PREFIX_SERVER_URL",
    hosts: (host) => host === "prefix.dev" || host.endsWith(".prefix.dev"),
    stored: [server.toString(), `https://repo.${server.host}/`],
  };
  return { server, channel, search };
}

interface Key {
  token(): Promise<string>;
  /** Whether there is another than the one that was refused. */
  another(refused: string): Promise<boolean>;
}

/** As rattler looks for it: a key that is given, the CI system's word for this job, the store. */
async function keyOf(search: KeySearch, context: TargetContext): Promise<Key> {
  const given = await findKey({ ...search, stored: [] }, context);
  if (given) return fixed(tokenOf(given) as string);
  const job = trustedPublishing(search.server, context.env, context.api);
  if (job) {
    try {
      return await minted(job, context);
    } catch (e) {
      context.warn(`trusted publishing: ${(e as Error).message}`);
    }
  }
  // Asked again each time: an OAuth token is renewed meanwhile.
  const stored = async () => tokenOf((await findKey(search, context)) ?? { kind: "bearer", token: "" });
  if (!(await stored())) throw noKey(search);
  return { token: async () => (await stored()) ?? "", another: async () => false };
}

function fixed(token: string): Key {
  return { token: async () => token, another: async () => false };
}

/** A key that is refused when it is younger than this has not ended: it was never good. */
const YOUNG_MS = 60_000;

async function minted(job: TrustedPublishing, { clock }: TargetContext): Promise<Key> {
  const limit = () => AbortSignal.timeout(60_000);
  let current = { token: await job.mint(limit()), at: clock.now() };
  let renewing: Promise<void> | undefined;
  const renew = async () => {
    current = { token: await job.mint(limit()), at: clock.now() };
    renewing = undefined;
  };
  return {
    token: async () => current.token,
    async another(refused) {
      if (refused === current.token && clock.now() - current.at < YOUNG_MS) return false;
      if (refused === current.token) {
        renewing ??= renew();
        await renewing.catch(() => undefined);
      }
      return refused !== current.token;
    },
  };
}
