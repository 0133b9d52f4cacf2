/** So many names are listed where something is told of many. */
const MOST_NAMES = 10;

/** Names, with a word about those left out. */
export function namesText(names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMES).join(", ");
  return names.length > MOST_NAMES ? `${shown} and ${names.length - MOST_NAMES} more` : shown;
}
