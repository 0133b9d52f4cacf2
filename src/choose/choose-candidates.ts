import { asText } from "../conda/as-text.ts";
import type { Whereabouts } from "../conda/match-spec.ts";
import type { Candidate } from "./explain.ts";
import { newestVersions } from "./newest.ts";
import { passes, type Rules, rulesFor } from "./rules.ts";

/** Chooses among packages that stand in no index; `latest` counts within a name and subdir. */
export function chooseCandidates(
  candidates: readonly Candidate[],
  where: Whereabouts,
  rules: Rules | undefined,
): Candidate[] {
  if (!rules) return [...candidates];
  const fitting = candidates.filter(({ subdir, fileName, fields }) =>
    passes(fields, { ...where, subdir, fileName }, rulesFor(nameOf(fields), rules), rules),
  );
  if (!rules.latest) return fitting;
  const groups = new Map<string, Candidate[]>();
  for (const one of fitting) {
    const key = `${one.subdir} ${nameOf(one.fields)}`;
    const group = groups.get(key);
    if (group) group.push(one);
    else groups.set(key, [one]);
  }
  const wanted = new Set<Candidate>();
  for (const group of groups.values()) {
    const newest = newestVersions(
      group.map(({ fields }) => asText(fields["version"])),
      rules,
    );
    for (const one of group) if (newest.has(asText(one.fields["version"]))) wanted.add(one);
  }
  return fitting.filter((one) => wanted.has(one));
}

function nameOf({ name }: Candidate["fields"]): string {
  return asText(name).toLowerCase();
}
