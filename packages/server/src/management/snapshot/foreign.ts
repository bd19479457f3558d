/**
 * Snapshots that virsh and others keep in libvirt: reverting and deleting is left to libvirt, which knows what they hold.
 * What libvirt can't know is checked here first: that nobody else reads a layer that it would write, and that no snapshot
 * of Innkeeper's lies on one.
 */
import { type OwnFacts, ownFacts } from "#management/vm/guest-metadata.ts";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import type { Step } from "#management/task/operation.ts";
import { refuseSavedMemory } from "#management/vm/guest-read.ts";
import { requirePersistent } from "#management/vm/lookup.ts";
import { syncGuest } from "#management/vm/sync.ts";
import { foreignReaders } from "./layer.ts";
import { readWorld } from "./layer-world.ts";
import { deleteFiles, volumesOfPaths } from "./merge.ts";
import { foreignSnapshotsOf, metadataOf, snapshotsOf } from "./snapshot-record.ts";
import { withDescendants } from "./tree.ts";

export interface ForeignPlan {
  readonly foreign: true;
  readonly act: "revert" | "delete";
  readonly vmId: Vm["id"];
  readonly hostId: string;
  readonly uuid: string;
  readonly snapshotId: Snapshot["id"];
  readonly name: string;
  readonly children: boolean;
  /** Files of saved memory that go with a deletion: libvirt 9.0 leaves them behind. */
  readonly memoryPaths: readonly string[];
  /** Innkeeper's own facts, which a revert must not take back; undefined: the VM's XML has none. */
  readonly own?: OwnFacts;
}

export function isForeign(plan: unknown): plan is ForeignPlan {
  return typeof plan === "object" && plan !== null && "foreign" in plan;
}

type Request = Pick<ForeignPlan, "act" | "children">;

/**
 * Since when libvirt does it with snapshots in files beside the disks: deleting 9.0 (NEWS), reverting 9.9 (docs
 * formatcaps.rst, externalSnapshot).
 */
const externalSince = { delete: [9, 0], revert: [9, 9] } as const;

/** Refuses what the host's libvirt can't do. Reads the inventory only. */
export function checkForeign({ inventory }: OperationDeps, vm: Vm, snapshot: Snapshot, act: ForeignPlan["act"]): void {
  requirePersistent(vm, act === "revert" ? "reverted" : "changed");
  const version = inventory.get("host", vm.hostId)?.hardware?.libvirtVersion;
  if (snapshot.external !== true || version === undefined) return;
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [sinceMajor, sinceMinor] = externalSince[act];
  if (major > sinceMajor || (major === sinceMajor && minor >= sinceMinor)) return;
  const what = act === "revert" ? "revert to" : "delete";
  const message = `libvirt ${version} on the host of VM ${vm.name} can't ${what} snapshot ${snapshot.name}, which is in files beside the disks; ${sinceMajor}.${sinceMinor} and newer can. Nothing was changed.`;
  throw new AppError("unsupported", message, {
    field: "snapshotId",
    remedy: "Upgrade the host's libvirt, or work on the layers with qemu-img while the VM is off.",
  });
}

export async function planForeign(
  deps: OperationDeps,
  vm: Vm,
  snapshot: Snapshot,
  request: Request,
  call: Call,
): Promise<ForeignPlan> {
  const words = request.act === "revert" ? "be reverted" : "lose a snapshot";
  checkForeign(deps, vm, snapshot, request.act);
  const now = await deps.providers.get(vm.hostId).guest.inventory.read(vm.uuid, call);
  const found = now.foreignSnapshots.find((each) => each.name === snapshot.name);
  if (found === undefined) throw new AppError("not_found", `VM ${vm.name} no longer has snapshot ${snapshot.name}.`);
  refuseSavedMemory(now, words);
  refuseMixed(deps, vm);
  // To delete what lies within a disk changes nothing that anyone reads.
  if (request.act === "revert" || found.external || request.children)
    await refuseReaders(deps, { ...vm, spec: now.spec }, words, call);
  return {
    foreign: true,
    ...request,
    vmId: vm.id,
    hostId: vm.hostId,
    uuid: vm.uuid,
    snapshotId: snapshot.id,
    name: snapshot.name,
    memoryPaths: request.act === "delete" ? memoryPathsOf(deps, vm, snapshot, request.children) : [],
    ...(vm.managed && { own: ownFacts(vm) }),
  };
}

function memoryPathsOf({ inventory }: OperationDeps, vm: Vm, snapshot: Snapshot, children: boolean): string[] {
  const dropped = children ? withDescendants(foreignSnapshotsOf(inventory, vm.id), snapshot) : [snapshot];
  return dropped.flatMap(({ memoryPath }) => memoryPath ?? []);
}

function refuseMixed({ inventory }: OperationDeps, vm: Vm): void {
  const own = snapshotsOf(inventory, vm.id);
  if (own.length === 0) return;
  const names = own.map((each) => each.name).join(", ");
  const message = `VM ${vm.name} has snapshots of Innkeeper's (${names}) besides those in libvirt's own keeping; libvirt would write layers that they read. Nothing was changed.`;
  throw new AppError("conflict", message, {
    remedy: `Look at both with \`virsh domblklist ${vm.name}\` and \`virsh snapshot-list ${vm.name}\`, and delete libvirt's with virsh.`,
  });
}

/** libvirt would write into layers that an overlay of someone else lies on. */
async function refuseReaders(deps: OperationDeps, vm: Vm, words: string, call: Call): Promise<void> {
  const active = vm.spec.disks.flatMap((disk) => (disk.device === "disk" ? (disk.source ?? []) : []));
  const frozen = foreignSnapshotsOf(deps.inventory, vm.id).flatMap((each) => each.disks.map((disk) => disk.path));
  const world = await readWorld(deps, vm.hostId, [vm], call);
  const readers = foreignReaders(world, vm.id, new Set([...active, ...frozen]));
  if (readers.length === 0) return;
  const names = [...new Set(readers.map((each) => each.by))].join(", ");
  const message = `VM ${vm.name} can't ${words}: its disks are read by ${names}, whose content would change. Nothing was changed.`;
  throw new AppError("conflict", message, { remedy: `Delete ${names} first.`, fault: { readers } });
}

/** Does nothing where the plan is about one of Innkeeper's own. */
export function foreignStep<I>(deps: OperationDeps): Step<I> {
  return {
    name: "libvirt",
    pointOfNoReturn: true,
    async do(context) {
      const plan = context.result("plan");
      if (!isForeign(plan)) return;
      const call = { signal: context.signal };
      const { snapshot } = deps.providers.get(plan.hostId).guest;
      if (plan.act === "revert") await revert(deps, plan, call);
      else {
        await snapshot.deleteForeign(plan.uuid, plan.name, plan, call);
        await deleteFiles(deps, plan.hostId, plan.memoryPaths, call);
      }
      await syncGuest(deps, context, plan, volumesOfPaths(deps, plan.hostId, plan.memoryPaths));
    },
  };
}

async function revert(deps: OperationDeps, plan: ForeignPlan, call: Call): Promise<void> {
  const { snapshot, lifecycle } = deps.providers.get(plan.hostId).guest;
  await snapshot.revertForeign(plan.uuid, plan.name, call);
  if (plan.own === undefined) return;
  const metadata = await metadataOf(deps, plan.vmId, plan.own);
  await lifecycle.change(plan.uuid, { metadata }, call);
}

/** Steps that are about Innkeeper's own snapshots. */
export function ownSteps<I>(steps: readonly Step<I>[]): Step<I>[] {
  return steps.map((step) => {
    const { undo } = step;
    return {
      ...step,
      do: async (context) => (isForeign(context.result("plan")) ? undefined : await step.do(context)),
      ...(undo && {
        undo: async (context: Parameters<typeof undo>[0]) => {
          if (!isForeign(context.resultIfAny("plan"))) await undo.call(step, context);
        },
      }),
    };
  });
}
