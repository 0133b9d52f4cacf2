import { authorizationOf, type Credential, tableOf } from "../auth/credential.ts";
import { factsOf } from "../conda/record-facts.ts";
import type { Present } from "../plan/plan.ts";
import { withRetries } from "../transfer/retry.ts";
import type { TargetContext } from "./kinds.ts";
import { retryOf, type Service, serviceTarget } from "./service.ts";
import { jsonOf, type Refusals, refusal } from "./service-answers.ts";
import { channelIndex } from "./service-index.ts";
import { badAddress, type KeySearch, keysAreFor, neededKey, readAddress } from "./service-key.ts";
import type { Target } from "./target.ts";

/*
 * A Conda repository of Artifactory (rattler_upload 0.7; jfrog.com: Deploy Artifact, File Info):
 * PUT {base}/{repository}/{subdir}/{file}, the file as it is, with its checksums. A file that is there would be replaced
 * without a word, so that {base}/api/storage/… is asked before.
 */

const NAME = "Artifactory";
const EXAMPLE = "artifactory://HOST/artifactory/REPOSITORY, or its https address with --target-type artifactory";

/** Opens a repository. @throws UsageError BAD_TARGET for an address that is none, or where there is no key */
export async function openArtifactory(text: string, context: TargetContext): Promise<Target> {
  const { base, repository, typed } = addressOf(text);
  const search: KeySearch = {
    service: NAME,
    server: base,
    typed: typed ?? userOf(context, base),
    variables: ["ARTIFACTORY_TOKEN"],
    serverVariable: "ARTIFACTORY_SERVER_URL",
    stored: [base.toString()],
  };
  const authorization = () => neededKey(search, context, headerOf);
  await authorization();
  const at = (path: string) => new URL(path, base).toString();
  const channel = channelIndex(
    async (path) => ({ url: at(`api/conda/${repository}/${path}`), authorization: await authorization() }),
    REFUSALS.key,
    context,
  );

  /** What is stored, whatever the index says. */
  const stored = async (subdir: string, fileName: string, signal: AbortSignal): Promise<Present | undefined> => {
    const url = at(`api/storage/${repository}/${subdir}/${encodeURIComponent(fileName)}`);
    const headers = { authorization: await authorization(), accept: "application/json" };
    const answer = await context.api.send({ method: "GET", url, headers, anonymous: true }, signal);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw refusal(NAME, fileName, answer, REFUSALS);
    const { checksums, size } = jsonOf(NAME, fileName, answer);
    const recorded = factsOf({ ...(tableOf(checksums) ? checksums : {}), size: Number(size) });
    return { subdir, fileName, recorded, fileSize: recorded.size ?? 0 };
  };

  const service: Service = {
    where: at(repository),
    name: NAME,
    index: {
      listed: channel.listed,
      now: (subdir, fileName, _, signal) =>
        withRetries(() => stored(subdir, fileName, signal), { ...retryOf(context), signal }),
    },
    async send({ fileName, subdir, sha256, md5, body }, replace, signal) {
      if (!replace && (await stored(subdir, fileName, signal))) return "exists";
      const headers = {
        authorization: await authorization(),
        "content-type": "application/octet-stream",
        "x-checksum-sha256": sha256,
        "x-checksum-md5": md5,
      };
      const url = at(`${repository}/${subdir}/${encodeURIComponent(fileName)}`);
      const answer = await context.api.send({ method: "PUT", url, headers, body, anonymous: true }, signal);
      if (answer.status === 200 || answer.status === 201) return "sent";
      throw refusal(NAME, fileName, answer, REFUSALS);
    },
  };
  return serviceTarget(service, context);
}

const REFUSALS: Refusals = {
  key: "check that ARTIFACTORY_TOKEN, or ARTIFACTORY_USERNAME and ARTIFACTORY_PASSWORD, may deploy to this repository; to replace a file takes the permission to delete",
  400: { error: "package", next: "see what the server says; the package is left out" },
  404: { next: "create the repository (type Conda) first, or check its name" },
  409: { error: "hash", why: "other bytes arrived than were sent", next: "run again; check what lies between" },
};

function headerOf(found: Credential): string | undefined {
  return authorizationOf(found.kind === "conda-token" ? { kind: "bearer", token: found.token } : found);
}

function userOf({ env, apiKey }: TargetContext, base: URL): Credential | undefined {
  const { ARTIFACTORY_USERNAME: username, ARTIFACTORY_PASSWORD: password, ARTIFACTORY_TOKEN: token } = env;
  if (apiKey !== undefined || token || !username || !password) return undefined;
  const search = { server: base, serverVariable: "ARTIFACTORY_SERVER_URL" };
  return keysAreFor(search, env) ? { kind: "basic", username, password } : undefined;
}

/** The address that repositories lie below, which ends in "/", and the repository's name. */
function addressOf(text: string) {
  const { url, path, credential } = readAddress(text, "artifactory", EXAMPLE);
  const repository = path.at(-1);
  if (repository === undefined) throw badAddress(text, "it names no repository", EXAMPLE);
  let before = path.slice(0, -1);
  if (before.slice(-2).join("/") === "api/conda") before = before.slice(0, -2);
  const base = new URL(before.length > 0 ? `/${before.join("/")}/` : "/", url);
  return { base, repository, typed: credential };
}
