/**
 * Layers of disks as a pure model: which layer lies on which, who holds which, and what may be merged or deleted.
 * Invariant: a plan made here never takes away a layer that a snapshot, a VM, a clone or an image reads (directly or
 * through the layers above it), never writes into a layer that more than one of them reads, and leaves no layer that
 * nobody reads. Merging is always upwards-in: the content of the one layer above is committed into the layer below
 * (libvirt's blockCommit), which then takes its place. See layer.property.test.ts.
 */

/** A file or device that is (part of) a disk; `backing` is the layer below. */
export interface Layer {
  readonly path: string;
  readonly backing: string | undefined;
}

/** Someone who refers to a layer by its path; a VM's hold is on its active layer, which it writes. */
export interface Hold {
  readonly path: string;
  readonly kind: "vm" | "snapshot" | "image";
  /** Id of the VM, snapshot or image. */
  readonly id: string;
  /** How people know it: `VM web1`, `snapshot before-upgrade of VM web1`. */
  readonly title: string;
  /** Of the VM, or of the snapshot's VM; undefined for images. */
  readonly vmId: string | undefined;
  /** Disk of the VM: vda. */
  readonly target: string | undefined;
}

export interface LayerWorld {
  readonly layers: ReadonlyMap<string, Layer>;
  readonly holds: readonly Hold[];
}

/** The content of `top` goes into `base`, then `top` is deleted; who held `top` holds `base`. */
export interface Merge {
  readonly target: string;
  readonly top: string;
  readonly base: string;
}

interface LayerPlan {
  readonly merges: readonly Merge[];
  /** Paths to delete when all merges are done; the tops of merges are among them. */
  readonly deletes: readonly string[];
  /** Layers that nobody holds but that others still read: kept until a later plan can merge or delete them. */
  readonly retained: readonly { readonly path: string; readonly reason: string }[];
  /** Where the holders of merged layers find their content afterwards: old path → new path. */
  readonly moved: ReadonlyMap<string, string>;
}

export function childrenOf(world: LayerWorld, path: string): Layer[] {
  return [...world.layers.values()].filter((layer) => layer.backing === path);
}

/** From the layer itself down to the last one known, itself first. */
export function chainOf(world: LayerWorld, path: string): string[] {
  const chain: string[] = [];
  for (let at: string | undefined = path; at !== undefined && !chain.includes(at); at = world.layers.get(at)?.backing) {
    chain.push(at);
  }
  return chain;
}

/** Everyone who reads the layer: its holders and those of all layers above it. */
function readersOf(world: LayerWorld, path: string): Hold[] {
  return world.holds.filter((hold) => chainOf(world, hold.path).includes(path));
}

/**
 * What to do with `candidates`: layers of one VM that (may) have lost their holder. With `merge` false nothing is
 * merged (the VM isn't running), what would be is retained.
 */
export function planCollect(
  world: LayerWorld,
  vmId: string,
  candidates: Iterable<string>,
  options: { readonly merge: boolean },
): LayerPlan {
  const collector = new Collector(world, vmId, new Set(candidates), options.merge);
  return collector.run();
}

/** The world without the holds that `dropped` selects. */
export function without(world: LayerWorld, dropped: (hold: Hold) => boolean): LayerWorld {
  return { layers: world.layers, holds: world.holds.filter((hold) => !dropped(hold)) };
}

/**
 * Who else reads `owned` layers, once `vmId` and its snapshots are gone: with any, the layers can't be deleted. A layer
 * above an owned one that nobody is known to hold counts, too: its data would be lost.
 */
export function foreignReaders(
  world: LayerWorld,
  vmId: string,
  owned: ReadonlySet<string>,
): { readonly path: string; readonly by: string }[] {
  const others = without(world, (hold) => hold.vmId === vmId);
  const readers: { path: string; by: string }[] = [];
  for (const path of owned) {
    const holders = readersOf(others, path);
    for (const hold of holders) readers.push({ path, by: hold.title });
    if (holders.length > 0) continue;
    for (const child of childrenOf(world, path)) {
      if (!owned.has(child.path)) readers.push({ path, by: `volume ${child.path}` });
    }
  }
  return readers;
}

class Collector {
  readonly #layers: Map<string, Layer>;
  #holds: Hold[];
  readonly #candidates: Set<string>;
  readonly #vmId: string;
  readonly #merge: boolean;
  readonly #merges: Merge[] = [];
  readonly #deletes: string[] = [];
  readonly #moved = new Map<string, string>();

  constructor(world: LayerWorld, vmId: string, candidates: Set<string>, merge: boolean) {
    this.#layers = new Map(world.layers);
    this.#holds = [...world.holds];
    this.#candidates = candidates;
    this.#vmId = vmId;
    this.#merge = merge;
  }

  run(): LayerPlan {
    let changed = true;
    while (changed) {
      changed = false;
      for (const path of this.#candidates) changed = this.#settle(path) || changed;
    }
    const retained = [...this.#candidates].map((path) => ({ path, reason: this.#whyKept(path) }));
    return { merges: this.#merges, deletes: this.#deletes, retained, moved: this.#moved };
  }

  /** True if the world changed. */
  #settle(path: string): boolean {
    if (!this.#layers.has(path) || this.#holdersOf(path).length > 0) return this.#candidates.delete(path);
    const children = childrenOf(this.#world(), path);
    const [child] = children;
    if (child === undefined) {
      this.#layers.delete(path);
      this.#candidates.delete(path);
      this.#deletes.push(path);
      return true;
    }
    if (!this.#merge || children.length > 1) return false;
    const target = this.#targetToMerge(path, child.path);
    if (target === undefined) return false;
    this.#mergeInto(target, child.path, path);
    return true;
  }

  /** The disk through which `top` can be committed into `base`; undefined if someone else's reading forbids it. */
  #targetToMerge(base: string, top: string): string | undefined {
    const world = this.#world();
    const active = this.#holds.find(
      (hold) =>
        hold.kind === "vm" &&
        hold.vmId === this.#vmId &&
        hold.target !== undefined &&
        chainOf(world, hold.path).includes(base),
    );
    if (active?.target === undefined) return undefined;
    if (!chainOf(world, active.path).includes(top)) return undefined;
    if (this.#holdersOf(top).some((hold) => hold.vmId !== this.#vmId)) return undefined;
    const above = childrenOf(world, top).length;
    // The active layer has none above; a frozen one has the next layer of the chain, whose backing libvirt rewrites.
    return above === (top === active.path ? 0 : 1) ? active.target : undefined;
  }

  #mergeInto(target: string, top: string, base: string): void {
    this.#merges.push({ target, top, base });
    this.#deletes.push(top);
    for (const layer of childrenOf(this.#world(), top)) this.#layers.set(layer.path, { ...layer, backing: base });
    this.#layers.delete(top);
    this.#holds = this.#holds.map((hold) => (hold.path === top ? { ...hold, path: base } : hold));
    for (const [from, to] of this.#moved) if (to === top) this.#moved.set(from, base);
    this.#moved.set(top, base);
    this.#candidates.delete(top);
  }

  #whyKept(path: string): string {
    const readers = readersOf(this.#world(), path).map((hold) => hold.title);
    if (readers.length === 0)
      return `other layers lie on it: ${childrenOf(this.#world(), path)
        .map((c) => c.path)
        .join(", ")}`;
    return `still read by ${[...new Set(readers)].join(", ")}`;
  }

  #world(): LayerWorld {
    return { layers: this.#layers, holds: this.#holds };
  }

  #holdersOf(path: string): Hold[] {
    return this.#holds.filter((hold) => hold.path === path);
  }
}
