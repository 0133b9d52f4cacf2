import { UsageError } from "../../errors.ts";
import { redactUrl } from "../../transfer/redact.ts";

/** A project of Azure DevOps, one of its builds, or one of its pipelines. */
export interface AzureAddress {
  /** Or the collection, on a server of one's own. */
  readonly organisation: string;
  /** Name or GUID. */
  readonly project: string;
  /** The build's number in addresses (buildId). */
  readonly build?: string;
  /** The pipeline's number (definitionId). */
  readonly definition?: string;
}

const ORGANISATION = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
/** What Azure forbids in a project's name, and control characters. */
const NOT_IN_PROJECT = /[\\/:*?"<>|;#$&{},+=[\]\p{Cc}]/u;
const SHORT = /^([^/#]+)\/([^/#]+)(?:#(\d{1,19}))?$/;

/**
 * Reads `organisation/project`, `organisation/project#BUILD_ID` and web addresses.
 * @param base the setting azure_devops_url
 * @returns undefined for what is none of these
 */
export function azureAddress(text: string, base: string): AzureAddress | undefined {
  const root = new URL(base);
  // Pasted without its scheme.
  const whole = text.toLowerCase().startsWith(`${root.host}/`) ? `${root.protocol}//${text}` : text;
  if (!/^https?:\/\//i.test(whole)) {
    const [, organisation = "", project = "", build] = SHORT.exec(text) ?? [];
    return checked(organisation, project, build === undefined ? {} : { build });
  }
  const url = URL.parse(whole);
  if (!url || url.username || url.password) return undefined;
  const below = `${root.pathname.replace(/\/+$/, "")}/`;
  let parts: string[];
  try {
    if (url.origin === root.origin && url.pathname.startsWith(below))
      parts = url.pathname.slice(below.length).split("/").map(decodeURIComponent);
    else if (root.hostname === "dev.azure.com" && /^https:\/\/[a-z0-9-]+\.visualstudio\.com$/.test(url.origin))
      // The older address of the same organisation, with or without its collection.
      parts = [
        url.hostname.slice(0, url.hostname.indexOf(".")),
        ...url.pathname
          .slice(1)
          .replace(/^DefaultCollection\//i, "")
          .split("/")
          .map(decodeURIComponent),
      ];
    else return undefined;
  } catch {
    return undefined;
  }
  const [organisation = "", project = "", ...rest] = parts;
  const number = (name: string): string | undefined => {
    const value = [...url.searchParams].find(([key]) => key.toLowerCase() === name)?.[1];
    return value !== undefined && /^\d{1,19}$/.test(value) ? value : undefined;
  };
  const inPath = rest[0] === "_apis" && rest[1] === "build" && rest[2] === "builds" ? rest[3] : undefined;
  const build = number("buildid") ?? (/^\d{1,19}$/.test(inPath ?? "") ? inPath : undefined);
  const definition = number("definitionid");
  return checked(organisation, project, {
    ...(build === undefined ? {} : { build }),
    ...(definition === undefined ? {} : { definition }),
  });
}

function checked(organisation: string, project: string, more: Partial<AzureAddress>): AzureAddress | undefined {
  if (!ORGANISATION.test(organisation) || project === "" || project.length > 100) return undefined;
  if (NOT_IN_PROJECT.test(project) || /^[._]/.test(project)) return undefined;
  return { organisation, project, ...more };
}

/** @throws UsageError BAD_SOURCE for what `azureAddress` can't read. */
export function parseAzureAddress(text: string, base: string): AzureAddress {
  const address = azureAddress(text, base);
  if (address) return address;
  throw new UsageError("BAD_SOURCE", {
    what: `${redactUrl(text)}: nothing at Azure DevOps is named so`,
    why: /^https?:/i.test(text)
      ? `it is no address of a project, pipeline or build at ${redactUrl(base)}`
      : "it is not organisation/project, with or without #BUILD_ID",
    next: "give organisation/project, organisation/project#BUILD_ID or a web address that holds buildId=N; azure_devops_url is the setting for other hosts",
  });
}

/** "organisation/project#BUILD_ID" */
export function azureName({ organisation, project, build }: AzureAddress): string {
  return `${organisation}/${project}${build === undefined ? "" : `#${build}`}`;
}
