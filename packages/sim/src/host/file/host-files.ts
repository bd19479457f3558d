// The files of one host: its own file system, and those that are mounted in it. Paths are absolute and clean
// (sanitizePath).
import { FileError } from "./file-error.ts";
import { type Owner, SimFile } from "./file.ts";
import { type Entry, type FileSystem, Folder } from "./file-system.ts";
import type { Image } from "./image.ts";
import type { SharedStorage } from "./shared-storage.ts";

/** What Debian's libvirt packages bring. */
const FOLDERS = [
  "/var/lib/libvirt/images",
  "/var/lib/libvirt/qemu/nvram",
  "/var/lib/libvirt/qemu/save",
  "/var/tmp",
  "/tmp",
];
const DIRECTORY: Owner = { mode: 0o755, uid: 0, gid: 0 };

interface Place {
  readonly fileSystem: FileSystem;
  readonly names: readonly string[];
}

export class HostFiles {
  readonly hostName: string;
  readonly shared: SharedStorage;
  readonly #clock: { nowMs(): number };
  /** By mount point; the longest first. */
  #mounts: { readonly path: string; readonly fileSystem: FileSystem }[];

  constructor(options: {
    readonly hostName: string;
    readonly clock: { nowMs(): number };
    readonly root: FileSystem;
    readonly shared: SharedStorage;
  }) {
    const { hostName, clock, root, shared } = options;
    this.hostName = hostName;
    this.shared = shared;
    this.#clock = clock;
    this.#mounts = [{ path: "/", fileSystem: root }];
    for (const path of FOLDERS) this.makeFolder(path, DIRECTORY);
  }

  mount(path: string, fileSystem: FileSystem): void {
    this.#mounts.push({ path, fileSystem });
    this.#mounts = this.#mounts.toSorted((left, right) => right.path.length - left.path.length);
  }

  /** False when nothing is mounted there. */
  unmount(path: string): boolean {
    const at = this.#mounts.findIndex((mount) => mount.path === path && path !== "/");
    if (at >= 0) this.#mounts.splice(at, 1);
    return at >= 0;
  }

  isMounted(path: string): boolean {
    return this.#mounts.some((mount) => mount.path === path);
  }

  fileSystemOf(path: string): FileSystem {
    return this.#place(path).fileSystem;
  }

  /** undefined when there is none. */
  find(path: string): Entry | undefined {
    try {
      return this.get(path);
    } catch (error) {
      if (error instanceof FileError) return undefined;
      throw error;
    }
  }

  /** Throws ENOENT, ENOTDIR. */
  get(path: string): Entry {
    const { fileSystem, names } = this.#place(path);
    return fileSystem.get(names);
  }

  /** Throws ENOENT, ENOTDIR, EISDIR. */
  file(path: string): SimFile {
    const entry = this.get(path);
    if (entry instanceof Folder) throw new FileError("EISDIR");
    return entry;
  }

  /** Throws ENOENT, ENOTDIR. */
  folder(path: string): Folder {
    const entry = this.get(path);
    if (!(entry instanceof Folder)) throw new FileError("ENOTDIR");
    return entry;
  }

  createRaw(path: string, owner: Owner, lengthBytes = 0, allocatedBytes = 0): SimFile {
    return this.#create(path, (space) => SimFile.raw(space, owner, this.#clock.nowMs(), lengthBytes, allocatedBytes));
  }

  createImage(path: string, owner: Owner, image: Image): SimFile {
    return this.#create(path, (space) => SimFile.image(space, owner, this.#clock.nowMs(), image));
  }

  copy(from: SimFile, path: string, owner: Owner): SimFile {
    return this.#create(path, (space) => from.copy(space, owner, this.#clock.nowMs()));
  }

  /** With the folders above it. Fine if it is there. */
  makeFolder(path: string, owner: Owner): void {
    const { fileSystem, names } = this.#place(path);
    let at = fileSystem.root;
    for (const [index, name] of names.entries()) {
      const next =
        at.entries.get(name) ?? new Folder(index === names.length - 1 ? owner : DIRECTORY, this.#clock.nowMs());
      if (!(next instanceof Folder)) throw new FileError(index === names.length - 1 ? "EEXIST" : "ENOTDIR");
      at.entries.set(name, next);
      at = next;
    }
  }

  /** Throws ENOENT, ENOTEMPTY. */
  remove(path: string): void {
    const entry = this.get(path);
    if (entry instanceof Folder && entry.entries.size > 0) throw new FileError("ENOTEMPTY");
    const { folder, name } = this.#parent(path);
    folder.entries.delete(name);
    if (entry instanceof SimFile) entry.release();
  }

  /** To another name in the same file system; what stood there is gone. */
  rename(from: string, to: string): void {
    const entry = this.file(from);
    const target = this.find(to);
    if (target instanceof SimFile) this.remove(to);
    const source = this.#parent(from);
    const { folder, name } = this.#parent(to);
    source.folder.entries.delete(source.name);
    folder.entries.set(name, entry);
  }

  #create(path: string, make: (space: FileSystem) => SimFile): SimFile {
    const { folder, name, fileSystem } = this.#parent(path);
    if (folder.entries.has(name)) throw new FileError("EEXIST");
    const file = make(fileSystem);
    folder.entries.set(name, file);
    return file;
  }

  #parent(path: string): { readonly folder: Folder; readonly name: string; readonly fileSystem: FileSystem } {
    const { fileSystem, names } = this.#place(path);
    const folder = fileSystem.get(names.slice(0, -1));
    const name = names.at(-1);
    if (!(folder instanceof Folder)) throw new FileError("ENOTDIR");
    if (name === undefined) throw new FileError("EISDIR");
    return { folder, name, fileSystem };
  }

  #place(path: string): Place {
    const mount = this.#mounts.find(
      (each) => each.path === "/" || path === each.path || path.startsWith(`${each.path}/`),
    );
    if (mount === undefined) throw new FileError("ENOENT");
    const rest = mount.path === "/" ? path : path.slice(mount.path.length);
    return { fileSystem: mount.fileSystem, names: rest.split("/").filter((name) => name !== "") };
  }
}

/** As virFileSanitizePath: slashes once, none at the end; two leading ones are kept (libvirt 9.0 src/util/virfile.c). */
export function sanitizePath(path: string): string {
  const lead = /^\/\/(?!\/)/u.test(path) ? "/" : "";
  const clean = path.replaceAll(/\/+/gu, "/");
  return lead + (clean.length > 1 ? clean.replace(/\/$/u, "") : clean);
}
