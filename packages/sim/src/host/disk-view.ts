// A guest's disks as files of its host.
import type { DiskFacts, DiskView } from "./context.ts";
import { SimFile } from "./file/file.ts";
import type { HostFiles } from "./file/host-files.ts";

export class FileDisks implements DiskView {
  readonly #files: HostFiles;

  constructor(files: HostFiles) {
    this.#files = files;
  }

  find(path: string): DiskFacts | undefined {
    const file = this.#files.find(path);
    if (!(file instanceof SimFile)) return undefined;
    const { backing } = file.image;
    return {
      capacityBytes: file.capacityBytes,
      allocationBytes: file.allocatedBytes,
      physicalBytes: file.lengthBytes,
      ...(backing === undefined ? {} : { backing: { path: backing.path, format: backing.format ?? "raw" } }),
    };
  }
}
