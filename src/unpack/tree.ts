import {
  chmodSync,
  closeSync,
  fchmodSync,
  futimesSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { PackageError } from "../errors.ts";
import { safeMemberName, type TarBody, type TarMember } from "../package/tar.ts";

/** What lies under a name, so that no link that the package brought is ever followed. */
type Node =
  | { readonly kind: "folder"; mode: number | undefined }
  | { readonly kind: "file"; readonly size: number; readonly runs: boolean }
  | { readonly kind: "link"; readonly to: string };

/** 1980-01-01: zip and old tools know nothing earlier (rattler_package_streaming clamps to it too). */
const EARLIEST = 315_532_800;
/** The end of the year 9999; what is far behind it no system call takes. */
const LATEST = 253_402_300_799;

/**
 * Members of a package's archives as files of this machine, below a folder that is new and nobody else's. Remembers what it
 * made, and refuses whatever would write through a link, over a member that differs, or out of the folder. Links are kept as
 * they are and never followed. File calls are synchronous: meant for worker threads.
 */
export class Tree {
  readonly #root: string;
  readonly #what: string;
  readonly #most: number;
  readonly #nodes = new Map<string, Node>([["", { kind: "folder", mode: undefined }]]);
  readonly #umask = process.umask();
  #fd: number | undefined;
  readonly warnings = new Set<string>();

  /** @param most members that are allowed. */
  constructor(root: string, what: string, most: number) {
    this.#root = root;
    this.#what = what;
    this.#most = most;
  }

  /** Whether a file of this name is there. */
  hasFile(name: string): boolean {
    return this.#nodes.get(name)?.kind === "file";
  }

  /** Entries that were made, without the root. */
  get members(): number {
    return this.#nodes.size - 1;
  }

  /** @throws PackageError BAD_MEMBER, TOO_LARGE or DAMAGED; what the file system throws */
  add(member: TarMember): TarBody | undefined {
    const { name, kind } = member;
    if (name === "") {
      if (kind === "folder") return undefined;
      throw this.#bad("a member has no name");
    }
    // On Windows these would be another folder, a drive, or a stream of another file.
    if (process.platform === "win32" && /[\\:]/.test(name))
      throw this.#bad(`its member ${JSON.stringify(name)} has no name that this system can give`);
    this.#folder(name.slice(0, Math.max(0, name.lastIndexOf("/"))), name);
    switch (kind) {
      case "folder": {
        const made = this.#makeFolder(name);
        made.mode = (member.mode & 0o777) | 0o700;
        return undefined;
      }
      case "symlink":
        this.#symlink(name, member.link);
        return undefined;
      case "hardlink":
        this.#hardlink(name, member.link);
        return undefined;
      case "file":
        return this.#file(member);
    }
  }

  /** Gives folders their modes; to be called when all members are there. */
  finish(): void {
    for (const [name, node] of this.#nodes) {
      if (node.kind === "folder" && node.mode !== undefined && node.mode !== 0o755)
        chmodSync(join(this.#root, name), node.mode);
    }
  }

  #folder(name: string, whose: string): void {
    const node = this.#nodes.get(name);
    if (node?.kind === "folder") return;
    if (node) {
      throw this.#bad(
        `its member ${whose} would be written ${node.kind === "link" ? "through the link" : "below the file"} ${name}`,
      );
    }
    this.#folder(name.slice(0, Math.max(0, name.lastIndexOf("/"))), whose);
    this.#makeFolder(name);
  }

  #makeFolder(name: string): { kind: "folder"; mode: number | undefined } {
    const node = this.#nodes.get(name);
    if (node?.kind === "folder") return node;
    if (node) throw this.#twice(name);
    mkdirSync(join(this.#root, name));
    const made: Node = { kind: "folder", mode: undefined };
    this.#note(name, made);
    return made;
  }

  #symlink(name: string, to: string): void {
    if (to === "" || to.includes("\0")) throw this.#bad(`its link ${name} points nowhere`);
    const there = this.#nodes.get(name);
    if (there) {
      if (there.kind === "link" && there.to === to) return;
      throw this.#twice(name);
    }
    if (process.platform === "win32") {
      // As rattler does: making links takes rights there that few have.
      this.warnings.add("its symbolic links were left out: Windows gives few the right to make them");
      return;
    }
    symlinkSync(to, join(this.#root, name));
    this.#note(name, { kind: "link", to });
  }

  #hardlink(name: string, link: string): void {
    const to = safeMemberName(link, this.#what);
    const target = this.#nodes.get(to);
    if (target?.kind === "link") {
      this.#symlink(name, target.to);
      return;
    }
    if (target?.kind !== "file") {
      throw this.#bad(
        `its member ${name} is a hard link to ${JSON.stringify(link)}, which is no file that came before it`,
      );
    }
    if (this.#nodes.has(name)) {
      if (name === to) return;
      throw this.#twice(name);
    }
    linkSync(join(this.#root, to), join(this.#root, name));
    this.#note(name, target);
  }

  #file({ name, size, mode, mtime }: TarMember): TarBody {
    const path = join(this.#root, name);
    const runs = (mode & 0o111) !== 0;
    const there = this.#nodes.get(name);
    if (there) {
      if (there.kind !== "file" || there.size !== size || there.runs !== runs) throw this.#twice(name);
      return this.#same(name, path);
    }
    this.#note(name, { kind: "file", size, runs });
    const wanted = (mode & 0o777) | 0o400;
    const fd = openSync(path, "wx", wanted);
    this.#fd = fd;
    return {
      chunk(bytes) {
        for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at);
      },
      end: () => {
        // The package says what its files are, whatever the umask, as rattler has it.
        if ((wanted & this.#umask) !== 0) fchmodSync(fd, wanted);
        const time = Math.min(LATEST, Math.max(EARLIEST, Math.floor(mtime)));
        futimesSync(fd, time, time);
        this.drop();
      },
    };
  }

  /** Closes the file that is being written, if there is one. */
  drop(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) closeSync(fd);
  }

  /** Reads a copy of a member that is there, and refuses it where it differs. */
  #same(name: string, path: string): TarBody {
    const fd = openSync(path, "r");
    this.#fd = fd;
    return {
      chunk: (bytes) => {
        const was = Buffer.alloc(bytes.length);
        for (let got = 0; got < was.length; ) {
          const n = readSync(fd, was, got, was.length - got, null);
          if (n === 0) throw this.#twice(name);
          got += n;
        }
        if (was.compare(bytes) !== 0) throw this.#twice(name);
      },
      end: () => this.drop(),
    };
  }

  #note(name: string, node: Node): void {
    this.#nodes.set(name, node);
    if (this.#nodes.size > this.#most) {
      throw new PackageError("TOO_LARGE", {
        what: this.#what,
        why: `it unpacks to more than ${this.#most} files and folders`,
        next: "the package is hostile or broken; leave it out",
      });
    }
  }

  #twice(name: string): PackageError {
    return this.#bad(`it holds ${name} twice, and the two differ: readers would not agree on what it is`);
  }

  #bad(why: string): PackageError {
    return new PackageError("BAD_MEMBER", {
      what: this.#what,
      why,
      next: "the package is hostile or broken; leave it out",
    });
  }
}
