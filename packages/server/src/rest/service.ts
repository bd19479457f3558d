/** What REST calls: management's services, each by what is used of it. */
import type { Static } from "typebox";
import type { ImageUploadQuery } from "@innkeeper/contract/endpoint/storage.ts";
import type { Cluster, ClusterChange, ClusterCreate } from "@innkeeper/contract/resource/cluster.ts";
import type { Host, HostChange } from "@innkeeper/contract/resource/host.ts";
import type { Image, ImageCreate } from "@innkeeper/contract/resource/image.ts";
import type { StoragePool, StoragePoolChange } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { AccessControl } from "#management/access/access.ts";
import type { Audit } from "#management/access/audit.ts";
import type { UserService } from "#management/access/user-service.ts";
import type { BackupService } from "#management/backup/backup-service.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { ListViews } from "#management/inventory/list-view.ts";
import type { MetricService } from "#management/metric/metric-service.ts";
import type { RecentSamples } from "#management/metric/recent-samples.ts";
import type { ServiceContext } from "#management/service-context.ts";
import type { TaskEngine } from "#management/task/engine.ts";
import type { VmService } from "#management/vm/vm-service.ts";

export type Octets = ReadableStream<Uint8Array>;

export interface ClusterService {
  create(request: ClusterCreate): Promise<Cluster>;
  change(clusterId: string, request: ClusterChange, context: ServiceContext): Promise<Cluster>;
  delete(clusterId: string, context: ServiceContext): Promise<void>;
}
export interface HostService {
  change(hostId: string, request: HostChange, context: ServiceContext): Promise<Host>;
}
export interface PoolService {
  change(poolId: string, request: StoragePoolChange, context: ServiceContext): Promise<StoragePool>;
  refresh(poolId: string, context: ServiceContext): Promise<StoragePool>;
}
export interface VolumeService {
  upload(volumeId: string, content: Octets, sizeBytes: number, context: ServiceContext): Promise<Volume>;
  download(
    volumeId: string,
    context: ServiceContext,
  ): Promise<{ readonly content: Octets; readonly sizeBytes: number }>;
}
export interface ImageService {
  create(request: ImageCreate, context: ServiceContext): Promise<Image>;
  upload(request: Static<typeof ImageUploadQuery>, content: Octets, context: ServiceContext): Promise<Image>;
}

interface SystemInfo {
  readonly version: string;
  readonly startedAt: string;
  readonly storeName: string;
  /** Throws unless the store can be written. */
  probe(): Promise<void>;
}

/** Of several processes that share a store: who leads, and how one proves to another that a request came through it. */
export interface Leading {
  /** This process writes and speaks to hosts; what it does not do itself, another one does. */
  readonly isLeader: boolean;
  /** PEM of what vouches for the leader's certificate goes with its URL. */
  readonly present: { readonly url: string; readonly trustPem?: string } | undefined;
  /** How long a request waits for a leader that can be reached. */
  readonly patienceMs: number;
  /** Resolves when this process leads or another one is known to; store_unavailable if nobody does in time. */
  settled(signal: AbortSignal): Promise<void>;
  /** Reads what others have written until now. */
  catchUp(): Promise<void>;
  /** Of a text that only these processes can make and check. */
  seal(text: string): string;
}

export interface RestServices {
  /** Absent: this process is the only one on its store. */
  readonly leading?: Leading;
  readonly inventory: Inventory;
  readonly lists: ListViews;
  readonly tasks: TaskEngine;
  readonly access: AccessControl;
  readonly users: UserService;
  readonly audit: Audit;
  readonly vm: VmService;
  readonly cluster: ClusterService;
  readonly host: HostService;
  readonly pool: PoolService;
  readonly volume: VolumeService;
  readonly image: ImageService;
  readonly metric: MetricService;
  readonly recent: RecentSamples;
  readonly system: SystemInfo;
  readonly backup: BackupService;
  readonly clock: Clock;
  readonly log: Logger;
  /** Aborts when the server stops: streams end. */
  readonly stop: AbortSignal;
}
