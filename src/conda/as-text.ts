/** A value of foreign JSON as text. `String` throws for an object that has data as its `toString`. */
export function asText(value: unknown): string {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}
