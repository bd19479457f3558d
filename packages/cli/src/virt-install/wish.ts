/** What disks and network cards are to be connected to: found out, and checked, when the whole guest is known. */
import type { XmlElement } from "./element.ts";

/** What a disk's content is to be. */
export interface DiskWish {
  readonly element: XmlElement;
  /** As typed, for errors. */
  readonly text: string;
  readonly option: "--disk" | "--cdrom" | "--cloud-init";
  /** A path on the host, of a volume that is there or, with a size, of a new one. */
  readonly path?: string;
  /** `pool/name` of a volume that is there. */
  readonly volume?: string;
  readonly pool?: string;
  readonly sizeGiB?: number;
  readonly format?: "raw" | "qcow2";
  readonly backing?: string;
  /** All of its space is taken at once. */
  readonly preallocate?: boolean;
  /** `driver.type`: what the volume must be. */
  readonly expectedFormat?: string;
  /** The medium is out after the installation. */
  readonly ejected?: boolean;
}

/** One of network and bridge. */
export interface NicWish {
  readonly element: XmlElement;
  readonly network?: string;
  readonly bridge?: string;
  readonly mac?: string;
}
