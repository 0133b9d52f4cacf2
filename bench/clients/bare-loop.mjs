// The least that Node can do for the same list: undici, MD5 and SHA-256 of each file, one write and one rename; nothing is
// read, checked or indexed. bare-loop.mjs LIST FOLDER. Plain JavaScript, so that no removal of types is measured.
import { hash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { Agent, request } from "undici";

const [list, folder] = process.argv.slice(2);
const urls = readFileSync(list, "utf8").trim().split("\n");
const dispatcher = new Agent({ connections: 32 });
mkdirSync(folder, { recursive: true });
let next = 0;
const worker = async () => {
  while (next < urls.length) {
    const url = urls[next++];
    const { body } = await request(url, { dispatcher });
    const bytes = Buffer.from(await body.arrayBuffer());
    hash("md5", bytes);
    hash("sha256", bytes);
    const path = join(folder, basename(url));
    writeFileSync(`${path}.part`, bytes);
    renameSync(`${path}.part`, path);
  }
};
await Promise.all(Array.from({ length: 32 }, worker));
await dispatcher.close();
