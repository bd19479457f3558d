/**
 * Guests of a host → VM documents. Invariants: one document per guest; a VM that migrated keeps its id; a VM whose host
 * can't be asked is kept; nothing on the host is touched. Reading one guest and storing it are serialized per UUID, across
 * hosts, so that the two ends of a migration never race; the pass over all guests gives way to what was read later. What a
 * guest's documents say is read when they are not those that its VM document was made of.
 */
import { isDeepStrictEqual } from "node:util";
import type { HostId, VmId } from "@innkeeper/contract/id.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { timestamp } from "#core/clock.ts";
import { KeyedLock, mapLimited } from "#core/concurrency.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { forgetSnapshot, putRetained, snapshotsOf } from "#management/snapshot/snapshot-record.ts";
import type { Draft, StoreTransaction } from "#store/port.ts";
import type { Guest, UnchangedGuest } from "#virtualization/port.ts";
import { applyForeignSnapshots, foreignSnapshotChanges } from "./foreign-snapshot-sync.ts";
import type { ReconcileDeps } from "./reconcile-deps.ts";
import { newEvent } from "./resource-event.ts";
import { restoreSnapshots, takeRecheck } from "./snapshot-restore.ts";
import { isWhole, vmDocument } from "./vm-document.ts";
import { type Identity, identify, ownId, type Twin } from "./vm-identity.ts";

/** How long another host may take to say whether it has a guest; then it can't be told. */
const twinDeadlineMs = 3_000;
const parallelHosts = 8;
const parallelGuests = 4;

interface Identified {
  readonly guest: Guest | UnchangedGuest;
  readonly id: VmId;
  readonly movedFrom?: Vm;
  readonly isNew: boolean;
  readonly duplicateOf?: Vm;
}

export class GuestSync {
  readonly #deps: ReconcileDeps;
  readonly #lock = new KeyedLock();
  /** The mark of the guest's documents that a VM document was made of. */
  readonly #marks = new WeakMap<Vm, string>();
  /** When a guest was last read by itself, by host and UUID (monotonic). */
  readonly #readAtMs = new Map<string, number>();
  /** Since when a guest has been seen beside its twin. */
  readonly #twinSinceMs = new Map<string, number>();

  constructor(deps: ReconcileDeps) {
    this.#deps = deps;
  }

  /** The VM's document, after the guest was read; undefined when the host has no such guest. */
  syncVm(hostId: string, uuid: string, call: Call): Promise<Vm | undefined> {
    return this.#lock.run(uuid, async () => {
      const provider = this.#deps.providers.get(hostId);
      this.#readAtMs.set(`${hostId} ${uuid}`, this.#deps.clock.monotonicMs());
      const mark = this.#markOf(this.#vm(hostId, uuid));
      const guest = await orAbsent(provider.guest.inventory.readChanged(uuid, mark, call));
      if (guest === undefined) {
        await this.#vanished(hostId, uuid, call);
        return undefined;
      }
      return this.#store(hostId, guest, call);
    });
  }

  /** Reads all guests of a host; stores what differs; forgets what is gone. */
  async syncAll(hostId: string, call: Call): Promise<void> {
    const { providers, inventory, clock } = this.#deps;
    const startMs = clock.monotonicMs();
    const marks = new Map(
      inventory.byHost("vm", hostId).flatMap((vm) => {
        const mark = this.#markOf(vm);
        return mark === undefined ? [] : [[vm.uuid, mark]];
      }),
    );
    const guests = await providers.get(hostId).guest.inventory.listChanged(marks, call);
    const known = new Map(inventory.byHost("vm", hostId).map((vm) => [vm.uuid, vm]));
    const isStale = (uuid: string): boolean => (this.#readAtMs.get(`${hostId} ${uuid}`) ?? -1) >= startMs;
    const here = guests.flatMap((guest): Identified[] => {
      const vm = known.get(guest.uuid);
      return vm === undefined ? [] : [{ guest, id: vm.id, isNew: false }];
    });
    await this.#write(hostId, here, isStale);
    const found = guests.filter((guest) => !known.has(guest.uuid) && !isStale(guest.uuid));
    await mapLimited(found, parallelGuests, (guest) =>
      this.#lock.run(guest.uuid, () => this.#store(hostId, guest, call)),
    );
    const present = new Set(guests.map((guest) => guest.uuid));
    const gone = [...known.keys()].filter((uuid) => !present.has(uuid) && !isStale(uuid));
    await mapLimited(gone, parallelGuests, (uuid) => this.syncVm(hostId, uuid, call));
    this.#forgetOld(startMs);
  }

  /** Its host can't be asked: the VMs are as they are, nobody knows how. */
  async markUnknown(hostId: string, why: string): Promise<void> {
    const { inventory, writes } = this.#deps;
    const ids = inventory.byHost("vm", hostId).flatMap((vm) => (vm.state === "unknown" ? [] : [vm.id]));
    if (ids.length === 0) return;
    await writes.run(async (transaction) => {
      for (const id of ids) {
        const vm = await transaction.get("vm", id);
        if (vm?.hostId === hostId) await transaction.put("vm", { ...vm, state: "unknown", stateDetail: why });
      }
    });
  }

  #vm(hostId: string, uuid: string): Vm | undefined {
    return this.#deps.inventory.by("vm", "uuid", uuid).find((vm) => vm.hostId === hostId);
  }

  #markOf(vm: Vm | undefined): string | undefined {
    return vm && this.#marks.get(vm);
  }

  async #store(hostId: string, guest: Guest | UnchangedGuest, call: Call): Promise<Vm | undefined> {
    const here = this.#vm(hostId, guest.uuid);
    if (here !== undefined) {
      await this.#write(hostId, [{ guest, id: here.id, isNew: false }]);
      return this.#deps.inventory.get("vm", here.id);
    }
    // Its VM was forgotten meanwhile.
    if (!isWhole(guest)) return undefined;
    const identity = await this.#identify(hostId, guest, call);
    if (identity.kind === "undecided") return undefined;
    this.#twinSinceMs.delete(`${hostId} ${guest.uuid}`);
    const identified: Identified =
      identity.kind === "moved"
        ? { guest, id: identity.vm.id, movedFrom: identity.vm, isNew: false }
        : {
            guest,
            id: identity.id,
            isNew: true,
            ...(identity.duplicateOf === undefined ? {} : { duplicateOf: identity.duplicateOf }),
          };
    await this.#write(hostId, [identified]);
    return this.#deps.inventory.get("vm", identified.id);
  }

  async #identify(hostId: string, guest: Guest, call: Call): Promise<Identity> {
    const { inventory, clock } = this.#deps;
    const other = inventory.by("vm", "uuid", guest.uuid).find((vm) => vm.hostId !== hostId);
    const twin: Twin | undefined =
      other === undefined ? undefined : { vm: other, there: await this.#stateOn(other.hostId, guest.uuid, call) };
    const key = `${hostId} ${guest.uuid}`;
    const nowMs = clock.monotonicMs();
    const sinceMs = this.#twinSinceMs.get(key) ?? nowMs;
    if (twin !== undefined) this.#twinSinceMs.set(key, sinceMs);
    const isTaken = (id: string): boolean => inventory.get("vm", id) !== undefined;
    return identify({ guest, twin, twinSinceMs: nowMs - sinceMs, isTaken });
  }

  async #stateOn(hostId: string, uuid: string, call: Call): Promise<Twin["there"]> {
    const guest = await this.#guestOn(hostId, uuid, call);
    return typeof guest === "string" ? guest : guest.state;
  }

  async #guestOn(hostId: string, uuid: string, call: Call): Promise<Guest | "absent" | "unknown"> {
    const signal = AbortSignal.any([call.signal, AbortSignal.timeout(twinDeadlineMs)]);
    try {
      const { guest } = this.#deps.providers.get(hostId);
      return (await orAbsent(guest.inventory.read(uuid, { signal }))) ?? "absent";
    } catch {
      call.signal.throwIfAborted();
      return "unknown";
    }
  }

  /** The host has it no longer: another one does, or it is gone. */
  async #vanished(hostId: string, uuid: string, call: Call): Promise<void> {
    const { inventory, providers, store, clock } = this.#deps;
    const vm = this.#vm(hostId, uuid);
    if (vm === undefined) return;
    const connected = providers.connectedHostIds();
    const others = connected.filter((id) => id !== hostId);
    const states = await mapLimited(others, parallelHosts, async (id) => ({
      id: id as HostId,
      guest: await this.#guestOn(id, uuid, call),
    }));
    const target = states.flatMap(({ id, guest }) => (typeof guest === "string" ? [] : [{ id, guest }]))[0];
    const isEverywhereAsked =
      states.every(({ guest }) => guest !== "unknown") &&
      inventory.list("host").every((host) => connected.includes(host.id));
    await store.transaction(async (transaction) => {
      const present = await transaction.get("vm", vm.id);
      if (present === undefined || present.hostId !== hostId) return;
      if (target === undefined && !isEverywhereAsked) {
        // It may have been moved to one of them: its id, tags and snapshots are kept until all can be asked.
        const stateDetail = "its host no longer has it, and not all other hosts can be asked now";
        await transaction.put("vm", { ...present, state: "unknown", stateDetail });
        return;
      }
      if (target === undefined) {
        await forgetVm(inventory, transaction, present);
        await transaction.put(
          "event",
          newEvent(clock, "vm.removed", "info", `VM ${vm.name} is gone`, [vm, this.#host(hostId)]),
        );
        return;
      }
      // What one of them has may have been taken for a VM of its own while both had it: the first one's id stays.
      const other = this.#vm(target.id, uuid);
      if (other?.id === ownId(target.guest)) return await forgetVm(inventory, transaction, present);
      if (other !== undefined) await transaction.delete("vm", other.id);
      await transaction.put("vm", { ...present, hostId: target.id });
      await transaction.put("event", this.#movedEvent(present, target.id));
    });
  }

  async #write(
    hostId: string,
    identified: readonly Identified[],
    isStale: (uuid: string) => boolean = () => false,
  ): Promise<void> {
    const { inventory, writes, clock } = this.#deps;
    const at = timestamp(clock);
    const sighting = ({ guest, id }: Identified) => ({ id, hostId: hostId as HostId, guest, at });
    const different = identified.filter((each) => {
      const stored = inventory.get("vm", each.id);
      if (!isSame(vmDocument(sighting(each), stored), stored)) return true;
      if (isWhole(each.guest)) this.#marks.set(stored, each.guest.mark);
      const { put, gone } = foreignSnapshotChanges(inventory, each.id, each.guest);
      return put.length + gone.length > 0;
    });
    if (different.length === 0) return;
    const unread = new Map(
      different.flatMap(({ id, guest }) => {
        const stored = inventory.get("vm", id);
        return isWhole(guest) || this.#markOf(stored) !== guest.mark ? [] : [[id, stored?.revision]];
      }),
    );
    let written: { readonly vm: Vm; readonly mark: string }[] = [];
    await writes.run(async (transaction) => {
      written = [];
      // The host may have been removed meanwhile.
      if ((await transaction.get("host", hostId)) === undefined) return;
      for (const each of different) {
        if (isStale(each.guest.uuid)) continue;
        const previous = await transaction.get("vm", each.id);
        // It has moved on, and is read there.
        const expectedHostId = each.movedFrom?.hostId ?? hostId;
        if (each.isNew ? previous !== undefined : previous?.hostId !== expectedHostId) continue;
        const draft = vmDocument(sighting(each), previous);
        if (draft === undefined) continue;
        const vm = isSame(draft, previous) ? previous : await transaction.put("vm", draft);
        // Of documents that were not read it is right only if nobody has read others.
        const isMade = isWhole(each.guest) || (unread.has(each.id) && unread.get(each.id) === previous?.revision);
        if (isMade) written.push({ vm, mark: each.guest.mark });
        await applyForeignSnapshots(transaction, foreignSnapshotChanges(inventory, each.id, each.guest));
        if (isWhole(each.guest)) await this.#sighted(transaction, { ...each, guest: each.guest }, vm);
      }
    });
    for (const { vm, mark } of written) {
      const stored = inventory.get("vm", vm.id);
      if (stored?.revision === vm.revision) this.#marks.set(stored, mark);
    }
  }

  /** What a guest's documents bring about beside its VM's document. */
  async #sighted(transaction: StoreTransaction, each: Identified & { readonly guest: Guest }, vm: Vm): Promise<void> {
    const isDue = (await takeRecheck(transaction, vm.id)) || each.isNew;
    if (isDue && each.guest.metadata?.vmId === each.id) {
      await restoreSnapshots(transaction, vm, each.guest, snapshotsOf(this.#deps.inventory, vm.id));
    }
    const event = this.#sightingEvent(each, vm);
    if (event !== undefined) await transaction.put("event", event);
  }

  #sightingEvent(
    { isNew, movedFrom, duplicateOf, guest }: Identified & { readonly guest: Guest },
    vm: Vm,
  ): Draft<"event"> | undefined {
    const { clock } = this.#deps;
    if (movedFrom !== undefined) return this.#movedEvent(movedFrom, vm.hostId);
    if (duplicateOf !== undefined) {
      const message = `VM ${vm.name} has the UUID of VM ${duplicateOf.id} on another host; it is ${guest.state} here. Two guests of one UUID must not run on the same disks.`;
      return newEvent(clock, "vm.duplicate", "warning", message, [vm, this.#host(vm.hostId), duplicateOf]);
    }
    if (!isNew || guest.metadata?.vmId === vm.id) return undefined;
    return newEvent(clock, "vm.adopted", "info", `VM ${vm.name} was found and taken in as it is`, [
      vm,
      this.#host(vm.hostId),
    ]);
  }

  #movedEvent(vm: Vm, toHostId: string): Draft<"event"> {
    const { inventory, clock } = this.#deps;
    const name = (id: string): string => inventory.get("host", id)?.name ?? id;
    const message = `VM ${vm.name} moved from host ${name(vm.hostId)} to host ${name(toHostId)}`;
    return newEvent(clock, "vm.moved", "info", message, [vm, this.#host(vm.hostId), this.#host(toHostId)]);
  }

  /** With its name, for an event. */
  #host(id: string): Host | string {
    return this.#deps.inventory.get("host", id) ?? id;
  }

  #forgetOld(beforeMs: number): void {
    for (const [key, atMs] of this.#readAtMs) if (atMs < beforeMs) this.#readAtMs.delete(key);
  }
}

/** A VM's document and its snapshots'; its volumes are the storage's. */
export async function forgetVm(inventory: Inventory, transaction: StoreTransaction, vm: Pick<Vm, "id">): Promise<void> {
  for (const snapshot of inventory.by("snapshot", "vmId", vm.id)) await forgetSnapshot(transaction, snapshot.id);
  await putRetained(transaction, vm.id, []);
  await transaction.delete("vm", vm.id);
}

function isSame(draft: Draft<"vm"> | undefined, stored: Vm | undefined): stored is Vm {
  return (
    draft !== undefined &&
    stored !== undefined &&
    isDeepStrictEqual({ ...draft, revision: stored.revision }, { ...stored })
  );
}

async function orAbsent<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof AppError && error.code === "not_found") return undefined;
    throw error;
  }
}
