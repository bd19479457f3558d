/** Content of volumes in and out. */
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { AppError } from "#core/app-error.ts";
import { inspectedBytes, inspectImage, otherDisk } from "#management/image/image-format.ts";
import { withHead } from "#management/image/upload-head.ts";
import type { ServiceContext } from "#management/service-context.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { checkRevision } from "#management/inventory/precondition.ts";
import { requirePoolOf, requireRunningPool, volumeClaim } from "#management/pool/pool-lookup.ts";
import type { Providers } from "#management/providers.ts";
import type { HostSync } from "#management/reconcile/host-sync.ts";
import type { ClaimTable } from "#management/task/claim-table.ts";
import { hostClaim, poolClaim } from "#management/task/resource-claim.ts";
import type { Store } from "#store/port.ts";
import { describeUsers, onWriter, volumeUsers } from "./volume-user.ts";

interface VolumeServiceDeps {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly providers: Providers;
  readonly hostSync: HostSync;
  readonly claims: ClaimTable;
}

const qcow2Magic = Buffer.from([0x51, 0x46, 0x49, 0xfb]);

export class VolumeService {
  readonly #deps: VolumeServiceDeps;

  constructor(deps: VolumeServiceDeps) {
    this.#deps = deps;
  }

  /** Writes the content from the start; it has exactly `sizeBytes` and is in the volume's format. */
  async upload(
    volumeId: string,
    content: ReadableStream<Uint8Array>,
    sizeBytes: number,
    context: ServiceContext & { readonly onProgress?: (done: number, total: number) => void },
  ): Promise<Volume> {
    const { inventory, providers, hostSync, store } = this.#deps;
    let source = content;
    let release: (() => void) | undefined;
    try {
      const volume = inventory.require("volume", volumeId, { field: "volumeId" });
      if (context.ifRevision !== undefined) {
        await checkRevision(store, inventory, "volume", volume.id, context.ifRevision);
      }
      const pool = requireRunningPool(requirePoolOf(inventory, volume));
      release = this.#deps.claims.acquireNow(`The upload to volume ${volume.name}`, {
        exclusive: [volumeClaim(pool, volume.name)],
        shared: [hostClaim(pool.hostId), poolClaim(pool.id)],
      });
      this.#requireWritable(volume);
      const { head, content: whole } = await withHead(content, inspectedBytes);
      source = whole;
      checkContent(volume, head, sizeBytes);
      await providers.get(pool.hostId).storage.volume.upload(pool.name, volume.name, whole, sizeBytes, context);
      await hostSync.syncPool(pool.hostId, pool.name, context);
      return inventory.require("volume", volume.id);
    } catch (error) {
      await source.cancel(error).catch(() => undefined);
      throw error;
    } finally {
      release?.();
    }
  }

  /**
   * The file as it is: of a qcow2 volume, the qcow2 file. A VM that comes to write to it is not kept from that; the content
   * then ends with an error, for what was read is of no moment in time.
   */
  async download(
    volumeId: string,
    context: ServiceContext,
  ): Promise<{ readonly content: ReadableStream<Uint8Array>; readonly sizeBytes: number; readonly fileName: string }> {
    const { inventory, providers } = this.#deps;
    const volume = inventory.require("volume", volumeId, { field: "volumeId" });
    const pool = requireRunningPool(requirePoolOf(inventory, volume));
    const release = this.#deps.claims.acquireNow(`The download of volume ${volume.name}`, {
      exclusive: [],
      shared: [volumeClaim(pool, volume.name), hostClaim(pool.hostId), poolClaim(pool.id)],
    });
    let torn: AppError | undefined;
    const stopListening = onWriter(inventory, volume, (words) => (torn ??= beingWritten(volume, words)));
    const end = (): void => {
      stopListening();
      release();
    };
    try {
      const writer = volumeUsers(inventory, volume).find((user) => user.writing);
      if (writer !== undefined) throw beingWritten(volume, writer.words);
      const { volume: volumes } = providers.get(pool.hostId).storage;
      const { content, sizeBytes } = await volumes.download(pool.name, volume.name, context);
      return { content: guarded(content, () => torn, end), sizeBytes, fileName: volume.name };
    } catch (error) {
      end();
      throw error;
    }
  }

  #requireWritable(volume: Volume): void {
    const users = volumeUsers(this.#deps.inventory, volume).filter((user) => user.running || user.kind !== "vm");
    if (users.length === 0) return;
    throw new AppError("conflict", `Volume ${volume.name} is used by ${describeUsers(users)}. Nothing was changed.`, {
      field: "volumeId",
    });
  }
}

function beingWritten({ name }: Volume, words: string): AppError {
  const message = `Volume ${name} is being written by ${words}: what would be read is not whole.`;
  return new AppError("conflict", message, { remedy: "Stop the VM, or take a snapshot and download its layer." });
}

/** The content, until `fault` has one; `end` is called when it is over, one way or another. */
function guarded(
  content: ReadableStream<Uint8Array>,
  fault: () => Error | undefined,
  end: () => void,
): ReadableStream<Uint8Array> {
  const reader = content.getReader();
  const cancel = async (reason: unknown): Promise<void> => {
    end();
    await reader.cancel(reason);
  };
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          const error = fault();
          if (error !== undefined) throw error;
          if (value !== undefined) return controller.enqueue(value);
          if (done) end();
          controller.close();
        } catch (error) {
          await cancel(error).catch(() => undefined);
          throw error;
        }
      },
      cancel,
    },
    { highWaterMark: 0 },
  );
}

/** A qcow2 file is looked at as an image is; in a raw volume it would be taken for an overlay by whoever probes it. */
function checkContent(volume: Volume, head: Uint8Array, sizeBytes: number): void {
  const isQcow2 = Buffer.from(head.subarray(0, qcow2Magic.length)).equals(qcow2Magic);
  if (volume.format === "qcow2") {
    if (!isQcow2) throw new AppError("invalid_field", `The content is not qcow2, as volume ${volume.name} is.`);
    inspectImage(head, sizeBytes);
    return;
  }
  const other = otherDisk(head);
  if (other !== undefined) {
    throw new AppError("invalid_field", `The content is a ${other} disk, volume ${volume.name} is ${volume.format}.`);
  }
  if (isQcow2) throw new AppError("invalid_field", `The content is qcow2, volume ${volume.name} is ${volume.format}.`);
  if (sizeBytes <= volume.capacityBytes) return;
  const message = `Volume ${volume.name} has ${volume.capacityBytes} bytes, the content has ${sizeBytes}.`;
  throw new AppError("too_large", message);
}
