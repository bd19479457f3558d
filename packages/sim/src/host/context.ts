// What every part of a host may use. Parts know this, never the host itself: a host is made of its parts.
import type { HostClock } from "./clock.ts";
import type { EventHub } from "./event-hub.ts";
import type { Random } from "./random.ts";

export interface HostContext {
  readonly name: string;
  /** The machine's own (SMBIOS). */
  readonly uuid: string;
  readonly clock: HostClock;
  readonly random: Random;
  readonly events: EventHub;
}
