import { closeSync, openSync } from "node:fs";
import { tableOf } from "../auth/credential.ts";
import { parseFileName } from "../conda/file-name.ts";
import { factsOf } from "../conda/record-facts.ts";
import { readPackage } from "../package/read.ts";
import { readAtFile } from "../package/read-at.ts";
import type { Present } from "../plan/plan.ts";
import type { ApiAnswer, ApiRequest } from "../transfer/api.ts";
import { withRetries } from "../transfer/retry.ts";
import type { TargetContext } from "./kinds.ts";
import { retryOf, type Service, serviceTarget, type Upload } from "./service.ts";
import { askJson, isFine, jsonOf, type Refusals, refusal } from "./service-answers.ts";
import { channelIndex } from "./service-index.ts";
import { badAddress, type KeySearch, neededKey, readAddress } from "./service-key.ts";
import { formFields, storeForm } from "./service-storage.ts";
import type { Target } from "./target.ts";

/*
 * A label of an owner on anaconda.org (rattler_upload 0.7: upload/anaconda.rs): the package and the release are made known,
 * the file is staged, sent to where the answer says (without our key: that is a storage host's), and committed.
 */

const NAME = "anaconda.org";
const EXAMPLE = "https://anaconda.org/OWNER or https://anaconda.org/OWNER/LABEL";
const API = "https://api.anaconda.org";

/** Opens a label of an owner. @throws UsageError BAD_TARGET for an address that is none, or where there is no key */
export async function openAnaconda(text: string, context: TargetContext): Promise<Target> {
  const { owner, label, channel, typed } = addressOf(text);
  const api = new URL(context.env["ANACONDA_SERVER_URL"] || API);
  const search: KeySearch = {
    service: NAME,
    server: new URL(api.origin),
    typed,
    variables: ["ANACONDA_API_KEY"],
    serverVariable: "ANACONDA_SERVER_URL",
    stored: [api.toString(), "https://conda.anaconda.org/", "https://anaconda.org/"],
  };
  const key = await neededKey(search, context);

  type Method = ApiRequest["method"];
  const ask = (method: Method, path: readonly string[], signal: AbortSignal, json?: object): Promise<ApiAnswer> => {
    const url = new URL(api);
    url.pathname = [url.pathname.replace(/\/+$/, ""), ...path.map(encodeURIComponent)].join("/");
    const headers = { authorization: `token ${key}`, "x-binstar-api-version": "1.12.2" };
    return askJson(context.api, method, url.toString(), headers, signal, json);
  };
  /** Makes something known, or says more of what is known. */
  const make = async (
    fileName: string,
    path: readonly string[],
    json: { readonly create: object; readonly change: object },
    signal: AbortSignal,
  ): Promise<void> => {
    const there = await ask("GET", path, signal);
    if (there.status !== 200 && there.status !== 404) throw refusal(NAME, fileName, there, REFUSALS);
    const isNew = there.status === 404;
    const made = await ask(isNew ? "POST" : "PATCH", path, signal, isNew ? json.create : json.change);
    // Another upload of the same version may have been quicker.
    if (!isFine(made) && !(isNew && made.status === 409)) throw refusal(NAME, fileName, made, REFUSALS);
  };
  const distPath = (subdir: string, fileName: string): string[] => {
    const { name, version } = parseFileName(fileName);
    return [owner, name.toLowerCase(), version, subdir, fileName];
  };
  /** What the owner has under this name, in whichever label. */
  const dist = async (subdir: string, fileName: string, signal: AbortSignal): Promise<Present | undefined> => {
    const answer = await ask("GET", ["dist", ...distPath(subdir, fileName)], signal);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw refusal(NAME, fileName, answer, REFUSALS);
    const told = jsonOf(NAME, fileName, answer);
    const { labels } = told;
    if (Array.isArray(labels) && !labels.includes(label))
      context.warn(`${fileName}: ${owner} has it already, but not with the label ${label}; add it there`);
    const recorded = factsOf(told);
    return { subdir, fileName, recorded, fileSize: recorded.size ?? 0 };
  };

  const token = `/t/${encodeURIComponent(key)}`;
  const reading = channelIndex(
    async (path) => {
      const url = new URL(channel);
      url.pathname = `${token}${url.pathname}${path}`;
      return { url: url.toString() };
    },
    REFUSALS.key,
    context,
  );
  const service: Service = {
    where: channel.toString().replace(/\/$/, ""),
    name: NAME,
    index: {
      listed: reading.listed,
      now: (subdir, fileName, _, signal) =>
        withRetries(() => dist(subdir, fileName, signal), { ...retryOf(context), signal }),
    },
    async send(upload, replace, signal) {
      const { fileName, subdir, sha256, md5, size, body } = upload;
      const path = distPath(subdir, fileName);
      const { index, about } = await infoOf(upload);
      // A file that goes may take its release and its package with it: all is made again after that.
      for (let removed = false; ; removed = true) {
        const [name, version] = [path[1] as string, path[2] as string];
        const attributes = { package_types: ["conda"], name, ...about };
        const aboutPackage = { public: true, publish: false, public_attrs: attributes };
        await make(fileName, ["package", owner, name], { create: aboutPackage, change: aboutPackage }, signal);
        const release = { requirements: [], announce: false, description: null };
        // A new release has the attributes themselves, a known one has them apart.
        const both = { create: { ...about, ...release }, change: { ...release, public_attrs: about } };
        await make(fileName, ["release", owner, name, version], both, signal);
        const wanted = { distribution_type: "conda", description: null, attrs: index, channels: [label], sha256 };
        const staged = await ask("POST", ["stage", ...path], signal, wanted);
        if (staged.status === 409) {
          if (!replace || removed) return "exists";
          const gone = await ask("DELETE", ["dist", ...path], signal);
          if (!isFine(gone) && gone.status !== 404) throw refusal(NAME, fileName, gone, REFUSALS);
          continue;
        }
        if (!isFine(staged)) throw refusal(NAME, fileName, staged, REFUSALS);
        const slot = jsonOf(NAME, fileName, staged);
        const { url, fields } = formFields(NAME, fileName, slot["post_url"], slot["form_data"]);
        const form = [
          ...fields,
          { name: "Content-Length", value: String(size) },
          { name: "Content-MD5", value: Buffer.from(md5, "hex").toString("base64") },
          { name: "file", fileName, value: body },
        ];
        await storeForm(NAME, fileName, url, form, context, signal);
        const committed = await ask("POST", ["commit", ...path], signal, { dist_id: slot["dist_id"] });
        if (!isFine(committed)) throw refusal(NAME, fileName, committed, REFUSALS);
        return "sent";
      }
    },
  };
  return serviceTarget(service, context);
}

const REFUSALS: Refusals = {
  key: "check that the key (ANACONDA_API_KEY, --api-key, or what pixi auth login stored) has not ended and may write for this owner",
  400: { error: "package", next: "see what the server says; the package is left out" },
  404: { next: "check the owner's name" },
};

/** What the package says of itself; the service keeps it as attributes. */
async function infoOf({ fileName, stagedPath, size }: Upload): Promise<{ index: object; about: object }> {
  const fd = openSync(stagedPath, "r");
  try {
    const { members } = await readPackage(fileName, readAtFile(fd, size, fileName), [
      "info/index.json",
      "info/about.json",
    ]);
    const parsed = (member: Uint8Array | undefined): object => {
      try {
        const value: unknown = JSON.parse(Buffer.from(member ?? []).toString("utf8"));
        return tableOf(value) ? value : {};
      } catch {
        return {};
      }
    };
    return { index: parsed(members.get("info/index.json")), about: parsed(members.get("info/about.json")) };
  } finally {
    closeSync(fd);
  }
}

/** The owner, the label, and the address of the label's channel, which ends in "/". */
function addressOf(text: string) {
  const { url, path, credential } = readAddress(text, "anaconda", EXAMPLE);
  const own = /^anaconda(\+http)?:/i.test(text);
  const parts = own ? [url.hostname, ...path] : path;
  const [owner, second, third] = parts;
  // anaconda.org/OWNER/LABEL, or OWNER/label/LABEL as in channels.
  const label = second === "label" ? third : second;
  if (owner === undefined || parts.length > (second === "label" ? 3 : 2))
    throw badAddress(text, "it names no owner, or more than an owner and a label", EXAMPLE);
  const home = own || /^(?:(?:www|api)\.)?anaconda\.org$/.test(url.hostname);
  const folder = label === undefined || label === "main" ? `/${owner}/` : `/${owner}/label/${label}/`;
  const channel = new URL(folder, home ? "https://conda.anaconda.org" : url);
  return { owner, label: label ?? "main", channel, typed: credential };
}
