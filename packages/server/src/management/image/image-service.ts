/**
 * Images: made of a volume that exists, or of a file that is uploaded. Invariant: an image in the store has its volume on
 * the host, whole, checked, and in the format that libvirt itself detects; after a failure, or a crash in the middle,
 * nothing of it remains.
 */
import { createHash } from "node:crypto";
import { type ImageId, newId } from "@innkeeper/contract/id.ts";
import { checkName } from "@innkeeper/contract/name.ts";
import type { Image, ImageCreate } from "@innkeeper/contract/resource/image.ts";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import { AppError } from "#core/app-error.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { ServiceContext } from "#management/service-context.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { requirePoolOf, requireRunningPool, volumeClaim } from "#management/pool/pool-lookup.ts";
import type { Providers } from "#management/providers.ts";
import type { HostSync } from "#management/reconcile/host-sync.ts";
import type { ClaimTable } from "#management/task/claim-table.ts";
import { hostClaim, poolClaim } from "#management/task/resource-claim.ts";
import { isFilePool } from "#management/vm/storage-reach.ts";
import { safeStem } from "#management/vm/volume-name.ts";
import { requireOwnContent } from "#management/volume/volume-content.ts";
import { describeUsers, volumeUsers } from "#management/volume/volume-user.ts";
import type { HostVolume } from "#storage/port.ts";
import type { Store } from "#store/port.ts";
import { contentExtent, inspectedBytes, inspectImage, requireWhole } from "./image-format.ts";
import type { Qcow2Extent } from "./qcow2-extent.ts";
import { withHead } from "./upload-head.ts";

interface ImageServiceDeps {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly providers: Providers;
  readonly hostSync: HostSync;
  readonly claims: ClaimTable;
  readonly clock: Clock;
  readonly log: Logger;
}

interface ImageUpload {
  readonly name: string;
  /** Pool by id, or by name with host. */
  readonly pool: string;
  readonly host?: string;
  readonly description?: string;
  readonly sizeBytes: number;
  readonly sha256?: string;
}

/** Uploads that are under way, by image id: what to remove after a crash. */
const uploadSpace = "image-upload";
const cleanupDeadlineMs = 60_000;

interface Upload {
  readonly id: ImageId;
  readonly request: ImageUpload;
  readonly place: Place;
  readonly format: string;
  readonly extent: Qcow2Extent | undefined;
}

interface Place {
  readonly hostId: string;
  readonly poolName: string;
  readonly volumeName: string;
}

export class ImageService {
  readonly #deps: ImageServiceDeps;
  readonly #active = new Set<string>();

  constructor(deps: ImageServiceDeps) {
    this.#deps = deps;
  }

  /** Makes a volume that exists an image; from then on it is never written to. */
  async create(request: ImageCreate, context: ServiceContext): Promise<Image> {
    const { inventory, providers } = this.#deps;
    this.#requireNameFree(request.name);
    const volume = inventory.require("volume", request.volumeId, { field: "volumeId" });
    const pool = requireRunningPool(requirePoolOf(inventory, volume));
    // Shared by those that read it; who writes, resizes or deletes it claims it exclusively.
    const release = this.#deps.claims.acquireNow(`Making an image of volume ${volume.name}`, {
      exclusive: [],
      shared: [volumeClaim(pool, volume.name), hostClaim(pool.hostId), poolClaim(pool.id)],
    });
    try {
      const present = await providers.get(pool.hostId).storage.volume.findVolume(pool.name, volume.name, context);
      if (present === undefined) {
        throw new AppError("not_found", `Volume ${volume.name} is no longer in pool ${pool.name}.`, {
          field: "volumeId",
        });
      }
      await requireOwnContent(providers.get(pool.hostId).storage.volume, present, context, "volumeId");
      const writers = volumeUsers(inventory, volume).filter((user) => user.kind !== "volume");
      if (writers.length > 0) {
        const message = `Volume ${volume.name} is used by ${describeUsers(writers)}. Nothing was changed.`;
        throw new AppError("conflict", message, { field: "volumeId" });
      }
      return await this.#store(newId("image"), request, { ...present, hostId: pool.hostId });
    } finally {
      release();
    }
  }

  /** Streams a file into the pool. `content` must have exactly `sizeBytes`; it is cancelled when the upload is refused. */
  async upload(
    request: ImageUpload,
    content: ReadableStream<Uint8Array>,
    context: ServiceContext & { readonly onProgress?: (done: number, total: number) => void },
  ): Promise<Image> {
    let source = content;
    let release: (() => void) | undefined;
    try {
      this.#requireNameFree(request.name);
      const pool = this.#requirePool(request);
      release = this.#deps.claims.acquireNow(`The upload of image ${request.name}`, {
        exclusive: [],
        shared: [hostClaim(pool.hostId), poolClaim(pool.id)],
      });
      const { head, content: whole } = await withHead(content, inspectedBytes);
      source = whole;
      if (head.byteLength < Math.min(inspectedBytes, request.sizeBytes)) {
        throw new AppError("invalid_field", `The content ended after ${head.byteLength} bytes.`, {
          field: "sizeBytes",
        });
      }
      const { format } = inspectImage(head, request.sizeBytes);
      const id = newId("image");
      const extension = format === "raw" ? "img" : format;
      const volumeName = `${safeStem(request.name)}-${id.slice("img-".length)}.${extension}`;
      const place = { hostId: pool.hostId, poolName: pool.name, volumeName };
      const extent = contentExtent(head, request.sizeBytes);
      return await this.#transfer({ id, request, place, format, extent }, whole, context);
    } catch (error) {
      await source.cancel(error).catch(() => undefined);
      throw error;
    } finally {
      release?.();
    }
  }

  /** Removes what uploads that a crash interrupted left on a host, as far as it can. To be called when the host is connected. */
  async cleanUp(hostId: string): Promise<void> {
    const { store, log } = this.#deps;
    const entries = await store.transaction((transaction) => transaction.listPrivate(uploadSpace));
    for (const { key, value } of entries) {
      const place = value as Place;
      if (place.hostId !== hostId || this.#active.has(key)) continue;
      log.info({ ...place }, "removing what an interrupted upload left");
      await this.#remove(key, place).catch((error: unknown) => {
        log.warn({ err: error, ...place }, "what an interrupted upload left could not be removed; tried again later");
      });
    }
  }

  async #transfer(
    { id, request, place, format, extent }: Upload,
    content: ReadableStream<Uint8Array>,
    context: ServiceContext & { readonly onProgress?: (done: number, total: number) => void },
  ): Promise<Image> {
    const { providers, store } = this.#deps;
    const { volume, pool } = providers.get(place.hostId).storage;
    const { poolName, volumeName } = place;
    this.#active.add(id);
    const hash = createHash("sha256");
    const hashed = content.pipeThrough(observed((chunk) => (hash.update(chunk), extent?.push(chunk))));
    try {
      await store.transaction((transaction) => transaction.putPrivate(uploadSpace, id, place));
      // A raw volume of the file's size takes the file as it is; libvirt detects what it is when it looks again.
      const definition = { poolName, name: volumeName, format: "raw", capacityBytes: request.sizeBytes } as const;
      await volume.createVolume(definition, context);
      await volume.upload(poolName, volumeName, hashed, request.sizeBytes, context);
      requireWhole(extent);
      const sha256 = hash.digest("hex");
      if (request.sha256 !== undefined && request.sha256 !== sha256) {
        const message = `The file's SHA-256 is ${sha256}, not ${request.sha256}. Nothing was stored.`;
        throw new AppError("invalid_field", message, { field: "sha256" });
      }
      await pool.refreshPool(poolName, context);
      const stored = await volume.findVolume(poolName, volumeName, context);
      const checked = this.#check(stored, format, volumeName);
      return await this.#store(id, request, { ...checked, hostId: place.hostId }, sha256);
    } catch (error) {
      await hashed.cancel(error).catch(() => undefined);
      await this.#remove(id, place).catch((cause: unknown) => {
        this.#deps.log.warn({ err: cause, ...place }, "upload could not be removed now; it is when the host connects");
      });
      throw error;
    } finally {
      this.#active.delete(id);
    }
  }

  #check(volume: HostVolume | undefined, format: string, name: string): HostVolume {
    if (volume === undefined) throw new AppError("host_failed", `The uploaded volume ${name} is not there.`);
    const isSame = volume.format === format || (format === "iso" && volume.format === "raw");
    if (!isSame || volume.backingPath !== undefined) {
      const what = volume.backingPath === undefined ? volume.format : `an overlay on ${volume.backingPath}`;
      throw new AppError(
        "invalid_field",
        `The host takes the file for ${what}, not for ${format}. Nothing was stored.`,
      );
    }
    return volume;
  }

  async #store(
    id: ImageId,
    request: { readonly name: string; readonly description?: string | undefined },
    volume: HostVolume & { readonly hostId: string },
    sha256?: string,
  ): Promise<Image> {
    const { store, hostSync, clock, log } = this.#deps;
    const image = await store.transaction(async (transaction) => {
      this.#requireNameFree(request.name);
      await transaction.deletePrivate(uploadSpace, id);
      return transaction.put("image", {
        id,
        name: request.name,
        description: request.description ?? "",
        hostId: volume.hostId as Image["hostId"],
        poolName: volume.poolName,
        volumeName: volume.name,
        path: volume.path,
        format: volume.format,
        capacityBytes: volume.capacityBytes,
        ...(sha256 === undefined ? {} : { sha256 }),
        createdAt: timestamp(clock),
      });
    });
    const call = { signal: AbortSignal.timeout(cleanupDeadlineMs) };
    await hostSync.syncPool(volume.hostId, volume.poolName, call).catch((error: unknown) => {
      log.warn({ err: error, pool: volume.poolName }, "pool will be read again later");
    });
    return image;
  }

  async #remove(key: string, { hostId, poolName, volumeName }: Place): Promise<void> {
    const { providers, store } = this.#deps;
    const call = { signal: AbortSignal.timeout(cleanupDeadlineMs) };
    await providers.get(hostId).storage.volume.deleteVolume(poolName, volumeName, call);
    await store.transaction((transaction) => transaction.deletePrivate(uploadSpace, key));
  }

  #requirePool({ pool: idOrName, host, sizeBytes }: ImageUpload): StoragePool {
    const { inventory, providers } = this.#deps;
    const hostId = host === undefined ? undefined : inventory.require("host", host, { field: "host" }).id;
    const where = hostId === undefined ? {} : { hostId };
    const pool = inventory.require("storage-pool", idOrName, { field: "pool", ...where });
    if (!isFilePool(requireRunningPool(pool))) {
      const message = `Images are kept in pools of files; ${pool.name} is of type ${pool.type}.`;
      throw new AppError("unsupported", message, { field: "pool" });
    }
    if (sizeBytes > pool.availableBytes) {
      const message = `Pool ${pool.name} has ${formatBytes(pool.availableBytes)} free, the file has ${formatBytes(sizeBytes)}.`;
      throw new AppError("disk_full", message, { field: "pool" });
    }
    providers.get(pool.hostId);
    return pool;
  }

  #requireNameFree(name: string): void {
    const wrong = checkName(name);
    if (wrong !== undefined) throw new AppError("invalid_field", `name ${wrong}.`, { field: "name" });
    if (this.#deps.inventory.by("image", "name", name).length === 0) return;
    throw new AppError("name_taken", `There is already an image ${JSON.stringify(name)}.`, { field: "name" });
  }
}

/** The same stream, each chunk shown as it passes. */
function observed(show: (chunk: Uint8Array) => void): TransformStream<Uint8Array, Uint8Array> {
  return new TransformStream({
    transform(chunk, controller) {
      show(chunk);
      controller.enqueue(chunk);
    },
  });
}
