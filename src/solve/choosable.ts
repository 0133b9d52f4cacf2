import { asText } from "../conda/as-text.ts";
import type { RecordFields } from "../conda/match-spec.ts";
import type { Versions } from "../conda/version.ts";
import type { VirtualPackage } from "./virtual-packages.ts";

/** A package that a solution may hold. */
export interface Choosable {
  readonly subdir: string;
  /** Empty for a virtual package. */
  readonly fileName: string;
  /** In lower case. */
  readonly name: string;
  readonly fields: RecordFields;
  readonly depends: readonly string[];
  readonly constrains: readonly string[];
  /** What its optional groups need besides (CEP 44), by group. */
  readonly extras: Readonly<Record<string, readonly string[]>>;
}

/** @param record as JSON; undefined when it is no package's record. */
export function choosable(subdir: string, fileName: string, record: Uint8Array): Choosable | undefined {
  const fields = JSON.parse(Buffer.from(record).toString("utf8")) as RecordFields;
  const { name, depends, constrains, extra_depends } = fields;
  if (typeof name !== "string") return undefined;
  const groups = typeof extra_depends === "object" && extra_depends !== null ? Object.entries(extra_depends) : [];
  return {
    subdir,
    fileName,
    name: name.toLowerCase(),
    fields,
    depends: texts(depends),
    constrains: texts(constrains),
    extras: Object.fromEntries(groups.map(([group, specs]) => [group, texts(specs)])),
  };
}

/** A virtual package, which no channel has. */
export function virtualChoosable(v: VirtualPackage, platform: string): Choosable {
  const fields = { ...v, build_number: 0 };
  return { subdir: platform, fileName: "", name: v.name, fields, depends: [], constrains: [], extras: {} };
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : [];
}

/**
 * The better of two packages of a name first: no features to track, newer version, higher build number, built later; of one
 * build in two formats the newer format.
 */
export function bestFirst(versions: Versions): (a: Choosable, b: Choosable) => number {
  const number = (value: unknown) => (typeof value === "number" ? value : 0);
  const tracks = ({ track_features: t }: RecordFields) =>
    (typeof t === "string" && t.trim() !== "") || (Array.isArray(t) && t.length > 0) ? 1 : 0;
  const isOld = (fileName: string) => (fileName.endsWith(".tar.bz2") ? 1 : 0);
  return ({ fields: a, fileName: oneFile }, { fields: b, fileName: otherFile }) =>
    tracks(a) - tracks(b) ||
    versions.compare(asText(b["version"]), asText(a["version"])) ||
    number(b["build_number"]) - number(a["build_number"]) ||
    number(b["timestamp"]) - number(a["timestamp"]) ||
    isOld(oneFile) - isOld(otherFile);
}
