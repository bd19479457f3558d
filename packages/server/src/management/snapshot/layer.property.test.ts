/**
 * Random histories of snapshots, reverts, deletes, linked clones and VM deletes over a model of qcow2 files that have
 * content. After every operation: each VM, snapshot and clone reads exactly what it should, each image is untouched,
 * and every file is read by someone.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { chainOf, foreignReaders, type Hold, type Layer, type LayerWorld, planCollect, without } from "./layer.ts";
import { treeWithout, withDescendants } from "./tree.ts";

type Content = ReadonlyMap<number, string>;
interface ModelFile {
  backing: string | undefined;
  own: Map<number, string>;
}
interface ModelSnapshot {
  id: `snap-${string}`;
  vmId: string;
  parentId: `snap-${string}` | null;
  current: boolean;
  layer: string;
  expected: Content;
}
interface ModelVm {
  id: string;
  active: string;
  expected: Map<number, string>;
}

const imagePath = "/pool/image";
const imageContent: Content = new Map([
  [0, "image0"],
  [1, "image1"],
]);

class Model {
  files = new Map<string, ModelFile>([[imagePath, { backing: undefined, own: new Map(imageContent) }]]);
  vms = new Map<string, ModelVm>();
  snapshots = new Map<string, ModelSnapshot>();
  retained = new Map<string, Set<string>>();
  merges = 0;
  #counter = 0;

  #name(what: string): string {
    return `${what}${++this.#counter}`;
  }

  #overlay(backing: string | undefined): string {
    const path = this.#name("/pool/f");
    this.files.set(path, { backing, own: new Map() });
    return path;
  }

  read(path: string): Content {
    const content = new Map<number, string>();
    for (const layer of chainOf(this.world(), path).toReversed()) {
      for (const [block, value] of this.files.get(layer)?.own ?? []) content.set(block, value);
    }
    return content;
  }

  world(): LayerWorld {
    const layers = new Map<string, Layer>(
      [...this.files].map(([path, file]) => [path, { path, backing: file.backing }]),
    );
    const holds: Hold[] = [
      { path: imagePath, kind: "image", id: "img", title: "image", vmId: undefined, target: undefined },
    ];
    for (const vm of this.vms.values()) {
      holds.push({ path: vm.active, kind: "vm", id: vm.id, title: vm.id, vmId: vm.id, target: "vda" });
    }
    for (const each of this.snapshots.values()) {
      holds.push({ path: each.layer, kind: "snapshot", id: each.id, title: each.id, vmId: each.vmId, target: "vda" });
    }
    return { layers, holds };
  }

  create(linked: boolean): void {
    const id = this.#name("vm");
    this.vms.set(id, {
      id,
      active: this.#overlay(linked ? imagePath : undefined),
      expected: new Map(linked ? imageContent : []),
    });
  }

  write(vm: ModelVm, block: number): void {
    const value = this.#name("w");
    this.files.get(vm.active)?.own.set(block, value);
    vm.expected.set(block, value);
  }

  freeze(vm: ModelVm): ModelSnapshot {
    const current = this.#of(vm).find((each) => each.current);
    if (current !== undefined) current.current = false;
    const snapshot: ModelSnapshot = {
      id: `snap-${this.#name("s")}`,
      vmId: vm.id,
      parentId: current?.id ?? null,
      current: true,
      layer: vm.active,
      expected: new Map(vm.expected),
    };
    this.snapshots.set(snapshot.id, snapshot);
    vm.active = this.#overlay(vm.active);
    return snapshot;
  }

  revert(snapshot: ModelSnapshot): void {
    const vm = this.#vm(snapshot.vmId);
    const abandoned = vm.active;
    vm.active = this.#overlay(snapshot.layer);
    vm.expected = new Map(snapshot.expected);
    for (const each of this.#of(vm)) each.current = each === snapshot;
    this.#collect(vm, [abandoned], false);
  }

  deleteSnapshot(snapshot: ModelSnapshot, children: boolean): void {
    const vm = this.#vm(snapshot.vmId);
    const all = this.#of(vm);
    const dropped = new Set((children ? withDescendants(all, snapshot) : [snapshot]).map((each) => each.id));
    const layers = all.filter((each) => dropped.has(each.id)).map((each) => each.layer);
    for (const id of dropped) this.snapshots.delete(id);
    for (const each of treeWithout(all, dropped)) this.snapshots.set(each.id, each);
    this.#collect(vm, layers, true);
  }

  linkedClone(snapshot: ModelSnapshot): void {
    const id = this.#name("vm");
    this.vms.set(id, { id, active: this.#overlay(snapshot.layer), expected: new Map(snapshot.expected) });
  }

  /** False if others read its layers. */
  deleteVm(vm: ModelVm): boolean {
    const owned = new Set([vm.active, ...this.#of(vm).map((each) => each.layer), ...(this.retained.get(vm.id) ?? [])]);
    if (foreignReaders(this.world(), vm.id, owned).length > 0) return false;
    for (const path of owned) this.files.delete(path);
    for (const each of this.#of(vm)) this.snapshots.delete(each.id);
    this.vms.delete(vm.id);
    this.#release();
    return true;
  }

  /** A layer that a VM retained because another VM read it may be read no longer. */
  #release(): void {
    for (const vm of this.vms.values()) {
      const plan = planCollect(this.world(), vm.id, this.retained.get(vm.id) ?? [], { merge: false });
      for (const path of plan.deletes) this.files.delete(path);
      this.retained.set(vm.id, new Set(plan.retained.map((each) => each.path)));
    }
  }

  #collect(vm: ModelVm, candidates: string[], merge: boolean): void {
    const all = new Set([...candidates, ...(this.retained.get(vm.id) ?? [])]);
    const plan = planCollect(this.world(), vm.id, all, { merge });
    for (const { top, base } of plan.merges) this.#commit(vm, top, base);
    for (const path of plan.deletes) this.files.delete(path);
    this.retained.set(vm.id, new Set(plan.retained.map((each) => each.path)));
    for (const snapshot of this.#of(vm)) snapshot.layer = plan.moved.get(snapshot.layer) ?? snapshot.layer;
    vm.active = plan.moved.get(vm.active) ?? vm.active;
    this.#release();
  }

  /** What blockCommit does: only layers of the VM's own present chain get another backing. */
  #commit(vm: ModelVm, top: string, base: string): void {
    this.merges++;
    const chain = chainOf(this.world(), vm.active);
    assert(chain.includes(top) && chain.includes(base), "only layers of the present chain can be merged");
    for (const [block, value] of this.files.get(top)?.own ?? []) this.files.get(base)?.own.set(block, value);
    const above = chain[chain.indexOf(top) - 1];
    const aboveFile = above === undefined ? undefined : this.files.get(above);
    if (aboveFile !== undefined) aboveFile.backing = base;
    else vm.active = base;
  }

  #of(vm: ModelVm): ModelSnapshot[] {
    return [...this.snapshots.values()].filter((each) => each.vmId === vm.id);
  }

  #vm(id: string): ModelVm {
    const vm = this.vms.get(id);
    assert(vm !== undefined);
    return vm;
  }

  check(): void {
    for (const vm of this.vms.values()) {
      assert.deepEqual(this.read(vm.active), vm.expected, `${vm.id} reads what it wrote`);
    }
    for (const each of this.snapshots.values()) assert.deepEqual(this.read(each.layer), each.expected, each.id);
    assert.deepEqual(this.read(imagePath), imageContent, "the image");
    const world = this.world();
    const read = new Set(world.holds.flatMap((hold) => chainOf(world, hold.path)));
    for (const path of this.files.keys()) assert(read.has(path), `${path} is read by nobody`);
    const active = [...this.vms.values()].map((vm) => vm.active);
    assert.equal(new Set(active).size, active.length, "no two VMs write one layer");
  }
}

const pick = <T>(items: Iterable<T>, index: number): T | undefined => {
  const list = [...items];
  return list[index % Math.max(1, list.length)];
};

const command = fc.record({
  action: fc.constantFrom(
    "create",
    "write",
    "write",
    "freeze",
    "freeze",
    "revert",
    "delete",
    "delete-tree",
    "clone",
    "delete-vm",
  ),
  which: fc.nat(20),
  block: fc.nat(3),
});

test("no history of operations loses a layer that is needed, nor leaves one that is not", () => {
  let merges = 0;
  fc.assert(
    fc.property(fc.array(command, { minLength: 5, maxLength: 40, size: "max" }), (commands) => {
      const model = new Model();
      model.create(true);
      for (const { action, which, block } of commands) {
        const vm = pick(model.vms.values(), which);
        const snapshot = pick(model.snapshots.values(), which);
        if (action === "create" && model.vms.size < 4) model.create(block % 2 === 0);
        if (action === "write" && vm !== undefined) model.write(vm, block);
        if (action === "freeze" && vm !== undefined && model.snapshots.size < 12) model.freeze(vm);
        if (action === "delete-vm" && vm !== undefined) model.deleteVm(vm);
        if (snapshot !== undefined) {
          if (action === "revert") model.revert(snapshot);
          if (action === "delete") model.deleteSnapshot(snapshot, false);
          if (action === "delete-tree") model.deleteSnapshot(snapshot, true);
          if (action === "clone" && model.vms.size < 6) model.linkedClone(snapshot);
        }
        model.check();
      }
      merges += model.merges;
    }),
    { numRuns: 1500 },
  );
  assert(merges > 100, `the histories must merge layers; they merged ${merges}`);
});

test("everything can be taken down again to nothing but the image", () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 30, size: "max" }), (commands) => {
      const model = new Model();
      model.create(true);
      for (const { action, which, block } of commands) {
        const vm = pick(model.vms.values(), which);
        const snapshot = pick(model.snapshots.values(), which);
        if (action === "write" && vm !== undefined) model.write(vm, block);
        if (action === "freeze" && vm !== undefined && model.snapshots.size < 8) model.freeze(vm);
        if (action === "revert" && snapshot !== undefined) model.revert(snapshot);
        if (action === "clone" && snapshot !== undefined && model.vms.size < 5) model.linkedClone(snapshot);
        if (action === "delete" && snapshot !== undefined) model.deleteSnapshot(snapshot, false);
      }
      for (let round = 0; model.vms.size > 0; round++) {
        assert(round < 10, "VMs that only clones of deleted VMs read must be deletable");
        for (const vm of model.vms.values()) model.deleteVm(vm);
      }
      assert.deepEqual([...model.files.keys()], [imagePath]);
    }),
    { numRuns: 300 },
  );
});

test("a layer that branches or clones share is kept, and the reason names them", () => {
  const model = new Model();
  model.create(false);
  const vm = pick(model.vms.values(), 0);
  assert(vm !== undefined);
  const snapshot = model.freeze(vm);
  model.linkedClone(snapshot);
  const world = without(model.world(), (hold) => hold.id === snapshot.id);
  const plan = planCollect(world, vm.id, [snapshot.layer], { merge: true });
  assert.deepEqual(plan.merges, []);
  assert.deepEqual(plan.deletes, []);
  assert.match(plan.retained[0]?.reason ?? "", /still read by .*vm/);
});
