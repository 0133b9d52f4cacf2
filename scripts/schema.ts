import { mkdirSync, writeFileSync } from "node:fs";
import { configJsonSchema } from "../src/config/settings.ts";

/** Writes schema/config.schema.json from the one schema that settings are checked against. */
mkdirSync(new URL("../schema/", import.meta.url), { recursive: true });
writeFileSync(
  new URL("../schema/config.schema.json", import.meta.url),
  `${JSON.stringify(configJsonSchema(), null, 2)}\n`,
);
