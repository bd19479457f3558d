// One simulated host: its parts, and nothing else. What it can do is in the parts; what clients may ask is in procedure/.
import { FaultSet } from "#fault/fault-set.ts";
import { Agents } from "./agent/agent.ts";
import { hostNameOf } from "./agent/guest-system.ts";
import { BlockJobs } from "./block-job/block-jobs.ts";
import { HostClock } from "./clock.ts";
import { NO_PEERS } from "./migration/no-peers.ts";
import { FileDisks } from "./disk-view.ts";
import { Domains } from "./domain/domains.ts";
import { EventHub } from "./event-hub.ts";
import { FileSystem } from "./file/file-system.ts";
import { HostFiles } from "./file/host-files.ts";
import { SharedStorage } from "./file/shared-storage.ts";
import type { Guest } from "./network/network.ts";
import { Networks } from "./network/networks.ts";
import { OFFICE_LOAD } from "./load.ts";
import { IncomingMigrations } from "./migration/incoming.ts";
import { OutgoingMigrations } from "./migration/outgoing.ts";
import { SimNode } from "./node/node.ts";
import { STANDARD_NODE } from "./node/shape.ts";
import { StoragePools } from "./pool/storage-pools.ts";
import { Random, hash } from "./random.ts";
import { Snapshots } from "./snapshot/snapshots.ts";
import type { Clock } from "./clock.ts";
import type { HostContext } from "./context.ts";
import type { DomainTiming } from "./domain/domains.ts";
import type { LoadProfile } from "./load.ts";
import type { Peers } from "./migration/outgoing.ts";
import type { NodeShape } from "./node/shape.ts";

export interface SimHostOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly seed: number;
  /** Of the host's own file system. */
  readonly storageBytes?: number;
  /** What it can mount; of a fleet, the same for all its hosts. */
  readonly shared?: SharedStorage;
  readonly load?: LoadProfile;
  readonly timing?: DomainTiming;
  readonly node?: NodeShape;
  /** The hosts that it reaches; none by itself. */
  readonly peers?: Peers;
}

const STORAGE_BYTES = 2_000_000_000_000;

export class SimHost implements HostContext {
  readonly name: string;
  readonly uuid: string;
  readonly seed: number;
  readonly clock: HostClock;
  readonly random: Random;
  readonly load: LoadProfile;
  readonly events = new EventHub();
  readonly faults: FaultSet;
  readonly files: HostFiles;
  readonly networks: Networks;
  readonly disks: FileDisks;
  readonly pools: StoragePools;
  readonly domains: Domains;
  readonly snapshots: Snapshots;
  readonly blockJobs: BlockJobs;
  readonly agents: Agents;
  readonly node: SimNode;
  readonly incoming: IncomingMigrations;
  readonly migrations: OutgoingMigrations;

  constructor(options: SimHostOptions) {
    this.name = options.name;
    this.seed = options.seed;
    this.clock = new HostClock(options.clock);
    this.random = new Random(hash(options.seed, options.name));
    this.uuid = this.random.uuid();
    this.faults = new FaultSet(options.name, options.seed, this.clock);
    this.load = options.load ?? OFFICE_LOAD;
    this.files = new HostFiles({
      hostName: options.name,
      clock: this.clock,
      root: new FileSystem({ capacityBytes: options.storageBytes ?? STORAGE_BYTES }),
      shared: options.shared ?? new SharedStorage(),
    });
    this.networks = new Networks(this, (network) => this.#guestsOn(network));
    this.disks = new FileDisks(this.files);
    this.pools = new StoragePools(this, this.files);
    this.domains = new Domains(this, options.timing);
    this.snapshots = new Snapshots(this.domains, this.files);
    this.blockJobs = new BlockJobs(this.domains, this.files);
    this.agents = new Agents(this, this.networks);
    this.node = new SimNode(this, this.domains, options.node ?? STANDARD_NODE);
    this.incoming = new IncomingMigrations(this.domains);
    this.migrations = new OutgoingMigrations(this.domains, options.peers ?? NO_PEERS);
  }

  #guestsOn(network: string): Guest[] {
    return [...this.domains.all].flatMap((domain) =>
      domain.isActive
        ? domain.facts.nics
            .filter(({ type, source }) => type === "network" && source === network)
            .map(({ mac }) => ({ mac, hostname: hostNameOf(domain) }))
        : [],
    );
  }
}
