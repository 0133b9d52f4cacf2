import { mkdirSync, writeFileSync } from "node:fs";
import { buildConda, buildTarBz2 } from "../test/packages/builder.ts";

/** Writes examples/packages: three small packages that install, made by the builder of the tests. Same input, same bytes. */
const folder = new URL("../examples/packages/", import.meta.url);
mkdirSync(folder, { recursive: true });
const script = "#!/bin/sh\necho hello from a channel of your own\n";
for (const built of [
  buildConda({
    name: "hello-mirror",
    version: "1.0",
    depends: ["hello-data >=1"],
    files: { "share/hello/readme.txt": "hello\n" },
  }),
  buildTarBz2({ name: "hello-data", version: "1.2", files: { "share/hello/data.txt": "data\n" } }),
  buildConda({
    name: "hello-tool",
    version: "2.0",
    build: "h0_0",
    subdir: "linux-64",
    depends: ["hello-mirror"],
    files: { "bin/hello-tool": script },
  }),
]) {
  writeFileSync(new URL(built.fileName, folder), built.bytes);
}
