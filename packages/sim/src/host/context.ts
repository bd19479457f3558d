// What every part of a host may use. Parts know this, never the host itself: a host is made of its parts.
import type { HostClock } from "./clock.ts";
import type { EventHub } from "./event-hub.ts";
import type { LoadProfile } from "./load.ts";
import type { Random } from "./random.ts";

export interface HostContext {
  readonly name: string;
  /** The machine's own (SMBIOS). */
  readonly uuid: string;
  readonly seed: number;
  readonly clock: HostClock;
  readonly random: Random;
  readonly events: EventHub;
  /** What runs in its guests. */
  readonly load: LoadProfile;
  readonly disks: DiskView;
}

export interface DiskFacts {
  readonly capacityBytes: number;
  readonly allocationBytes: number;
  readonly physicalBytes: number;
  /** The image that this one is an overlay of. */
  readonly backing?: { readonly path: string; readonly format: string };
}

/** What the host's storage knows of a guest's disks. */
export interface DiskView {
  /** undefined: there is no such file. */
  find(path: string): DiskFacts | undefined;
}
