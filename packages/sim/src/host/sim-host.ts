// One simulated host: its parts, and nothing else. What it can do is in the parts; what clients may ask is in procedure/.
import { FaultSet } from "#fault/fault-set.ts";
import { HostClock } from "./clock.ts";
import { EventHub } from "./event-hub.ts";
import { Random, hash } from "./random.ts";
import type { Clock } from "./clock.ts";
import type { HostContext } from "./context.ts";

export interface SimHostOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly seed: number;
}

export class SimHost implements HostContext {
  readonly name: string;
  readonly uuid: string;
  readonly clock: HostClock;
  readonly random: Random;
  readonly events = new EventHub();
  readonly faults = new FaultSet();

  constructor(options: SimHostOptions) {
    this.name = options.name;
    this.clock = new HostClock(options.clock);
    this.random = new Random(hash(options.seed, options.name));
    this.uuid = this.random.uuid();
  }
}
