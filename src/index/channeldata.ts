export function packageFacts(_: unknown): unknown {
  return {};
}
