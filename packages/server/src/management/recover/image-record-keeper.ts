/**
 * Keeps a record beside every image (image-record.ts): written when an image is made and when its host connects, deleted
 * with the image. In the background: an image is an image also where no record can be written, such as a pool that is
 * read-only; then `inn recover` finds it as a volume.
 */
import type { Image } from "@innkeeper/contract/resource/image.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Logger } from "#core/log.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { Providers } from "#management/providers.ts";
import type { ChangeEntry } from "#store/port.ts";
import { deleteImageRecord, writeImageRecord } from "./image-record.ts";

interface ImageRecordDeps {
  readonly inventory: Inventory;
  readonly providers: Providers;
  readonly log: Logger;
}

const deadlineMs = 60_000;

export class ImageRecordKeeper implements AsyncDisposable {
  readonly #deps: ImageRecordDeps;
  readonly #stop = new AbortController();
  readonly #stopListening: () => void;
  /** What the store had, for those that are deleted. */
  readonly #known = new Map<string, Image>();
  readonly #connected = new Set<string>();
  #last: Promise<void> = Promise.resolve();

  constructor(deps: ImageRecordDeps) {
    this.#deps = deps;
    for (const image of deps.inventory.list("image")) this.#known.set(image.id, image);
    this.#stopListening = deps.inventory.onChange((changes) => this.#onChange(changes));
    for (const host of deps.inventory.list("host")) this.#onHost(host);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopListening();
    this.#stop.abort();
    await this.#last;
  }

  #onChange(changes: readonly ChangeEntry[]): void {
    for (const { kind, id, resource } of changes) {
      if (kind === "host") {
        if (resource === undefined) this.#connected.delete(id);
        else this.#onHost(resource as Host);
      }
      if (kind === "image") this.#onImage(id, resource as Image | undefined);
    }
  }

  #onHost({ id, connectionState }: Host): void {
    if (connectionState !== "connected") this.#connected.delete(id);
    else if (!this.#connected.has(id)) {
      this.#connected.add(id);
      for (const image of this.#deps.inventory.byHost("image", id)) this.#write(image);
    }
  }

  #onImage(id: string, image: Image | undefined): void {
    const before = this.#known.get(id);
    if (image === undefined) this.#known.delete(id);
    else this.#known.set(id, image);
    if (image !== undefined) this.#write(image);
    // A host that was removed keeps its images and their records.
    else if (before !== undefined && this.#deps.inventory.get("host", before.hostId) !== undefined)
      this.#delete(before);
  }

  #write(image: Image): void {
    this.#enqueue(image, (storage, call) => writeImageRecord(storage, image, call));
  }

  #delete(image: Image): void {
    this.#enqueue(image, (storage, call) => deleteImageRecord(storage, image, call));
  }

  /** One after another: a record's deletion never overtakes its writing. */
  #enqueue(
    image: Image,
    work: (storage: Parameters<typeof writeImageRecord>[0], call: { readonly signal: AbortSignal }) => Promise<void>,
  ): void {
    const { providers, log } = this.#deps;
    const run = async (): Promise<void> => {
      const storage = this.#connected.has(image.hostId) ? providers.find(image.hostId)?.storage : undefined;
      if (storage === undefined || this.#stop.signal.aborted) return;
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(deadlineMs)]);
      await work(storage, { signal }).catch((error: unknown) => {
        if (!this.#stop.signal.aborted)
          log.info({ err: error, imageId: image.id }, "the record of an image was not kept");
      });
    };
    this.#last = this.#last.then(run);
  }
}
