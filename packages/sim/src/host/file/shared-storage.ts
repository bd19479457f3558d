// Storage that hosts reach besides their own file system: what NFS servers export, volume groups, partitions. Whoever
// mounts the same name gets the same files.
import { FileSystem } from "./file-system.ts";

export interface SharedStorageOptions {
  /** Any name that is asked for is there, with so much room; undefined: only what was added. */
  readonly defaultBytes?: number;
}

export class SharedStorage {
  readonly #fileSystems = new Map<string, FileSystem>();
  readonly #defaultBytes: number | undefined;

  constructor({ defaultBytes }: SharedStorageOptions = {}) {
    this.#defaultBytes = defaultBytes;
  }

  /** @param source as mount(8) names it: "nfs1:/export"; of a volume group "host:group". */
  add(source: string, fileSystem: FileSystem): void {
    this.#fileSystems.set(source, fileSystem);
  }

  fileSystem(source: string): FileSystem | undefined {
    const known = this.#fileSystems.get(source);
    if (known !== undefined || this.#defaultBytes === undefined) return known;
    const made = new FileSystem({ capacityBytes: this.#defaultBytes });
    this.#fileSystems.set(source, made);
    return made;
  }
}
