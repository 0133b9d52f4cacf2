import { rmSync } from "node:fs";

/** Removes the build, so that no file of an earlier one is packed. */
rmSync(new URL("../dist", import.meta.url), { recursive: true, force: true });
