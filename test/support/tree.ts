import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** Everything below a folder, by path: what it is, its mode, a file's time, links and content, where a link points to. */
export function treeOf(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  const visit = (folder: string) => {
    for (const name of readdirSync(join(root, folder)).sort()) {
      const path = folder === "" ? name : `${folder}/${name}`;
      const s = lstatSync(join(root, path));
      const mode = (s.mode & 0o7777).toString(8);
      if (s.isSymbolicLink()) found[path] = `link to ${readlinkSync(join(root, path))}`;
      else if (s.isDirectory()) {
        found[path] = `folder ${mode}`;
        visit(path);
      } else {
        const sha256 = createHash("sha256")
          .update(readFileSync(join(root, path)))
          .digest("hex");
        found[path] = `file ${mode} ${s.mtimeMs} ${s.nlink} ${sha256}`;
      }
    }
  };
  visit("");
  return found;
}
