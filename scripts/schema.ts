import { mkdirSync, writeFileSync } from "node:fs";
import { reportJsonSchema } from "../src/config/report-schema.ts";
import { configJsonSchema } from "../src/config/settings.ts";
import { verifyJsonSchema } from "../src/config/verify-schema.ts";

/** Writes schema/ from the schemas that settings are checked against and reports are made by. */
const folder = new URL("../schema/", import.meta.url);
mkdirSync(folder, { recursive: true });
for (const [name, schema] of [
  ["config", configJsonSchema()],
  ["report", reportJsonSchema()],
  ["verify", verifyJsonSchema()],
] as const)
  writeFileSync(new URL(`${name}.schema.json`, folder), `${JSON.stringify(schema, null, 2)}\n`);
