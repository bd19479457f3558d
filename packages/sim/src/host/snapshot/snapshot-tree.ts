// The snapshots of one domain, in libvirt's own keeping: a forest by name, and the one that the domain stands on
// (libvirt 9.0 src/conf/virdomainmomentobjlist.c).
import {
  VIR_ERR_INVALID_ARG,
  VIR_ERR_NO_DOMAIN_SNAPSHOT,
  VIR_ERR_OPERATION_FAILED,
  VIR_FROM_DOMAIN,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { type Snapshot, snapshotError } from "./snapshot-definition.ts";

export function noSnapshot(detail: string): SimError {
  return new SimError(VIR_ERR_NO_DOMAIN_SNAPSHOT, VIR_FROM_QEMU, detail);
}

export class SnapshotTree {
  readonly #byName = new Map<string, Snapshot>();
  current: Snapshot | undefined;

  get all(): readonly Snapshot[] {
    return [...this.#byName.values()];
  }

  get size(): number {
    return this.#byName.size;
  }

  find(name: string): Snapshot | undefined {
    return this.#byName.get(name);
  }

  require(name: string): Snapshot {
    const snapshot = this.#byName.get(name);
    if (snapshot === undefined) throw noSnapshot(`no domain snapshot with matching name '${name}'`);
    return snapshot;
  }

  /** Below the current one; it is the current one then. */
  add(snapshot: Snapshot): void {
    this.refuseTaken(snapshot.name);
    this.#byName.set(snapshot.name, snapshot);
    this.current = snapshot;
  }

  refuseTaken(name: string): void {
    if (this.#byName.has(name))
      throw new SimError(VIR_ERR_OPERATION_FAILED, VIR_FROM_DOMAIN, `domain moment ${name} already exists`);
  }

  /** One that was known elsewhere, and what it says of its parent; in place of one of its name. */
  redefine(snapshot: Snapshot, isCurrent: boolean): void {
    const { parentName } = snapshot;
    if (parentName !== undefined && !this.#byName.has(parentName)) {
      const detail = `parent ${parentName} for moment ${snapshot.name} not found`;
      throw snapshotError(VIR_ERR_INVALID_ARG, detail);
    }
    this.#byName.set(snapshot.name, snapshot);
    if (isCurrent) this.current = snapshot;
  }

  children({ name }: Snapshot): readonly Snapshot[] {
    return this.all.filter((each) => each.parentName === name);
  }

  /** Parents before their children. */
  descendants(of: Snapshot): readonly Snapshot[] {
    return this.children(of).flatMap((child) => [child, ...this.descendants(child)]);
  }

  roots(): readonly Snapshot[] {
    return this.all.filter((each) => each.parentName === undefined);
  }

  parentOf({ parentName }: Snapshot): Snapshot | undefined {
    return parentName === undefined ? undefined : this.#byName.get(parentName);
  }

  /** Its children go to its parent. */
  remove(snapshot: Snapshot): void {
    for (const child of this.children(snapshot)) child.parentName = snapshot.parentName;
    this.#byName.delete(snapshot.name);
    if (this.current === snapshot) this.current = this.parentOf(snapshot);
  }
}
