/**
 * Deletes a VM, with its disks or without. What will be deleted is settled and stored before anything is touched; a VM
 * whose disks others need is refused by their names. Without deleteDisks all files stay, also firmware variables and TPM
 * state, and the result names them.
 */
import { Type } from "typebox";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { deleteFiles, volumesOfPaths } from "#management/snapshot/merge.ts";
import { forgetSnapshots } from "#management/snapshot/snapshot-record.ts";
import { operation } from "#management/task/operation.ts";
import { vmClaim, vmTarget } from "#management/vm/lookup.ts";
import { readGuestIfAny, removeGuest, stopGuest } from "#management/vm/guest-read.ts";
import { syncGuest } from "#management/vm/sync.ts";
import { deletableFiles, ownFiles, type VmFiles } from "#management/vm/vm-file.ts";
import type { Guest } from "#virtualization/port.ts";
import type { OperationDeps } from "./deps.ts";

interface Plan extends VmFiles {
  readonly vmId: Vm["id"];
  readonly name: string;
  readonly hostId: string;
  readonly uuid: string;
  /** Files of firmware variables and TPM state that stay: once the VM is gone, nobody could tell. A plan of before this version has none. */
  readonly keptState?: readonly string[];
}

const sharedState = "firmware variables that another VM has, too, or that are outside of libvirt's own folder";

type Input = { vmId: string; deleteDisks?: boolean; force?: boolean };

export function vmDelete(deps: OperationDeps) {
  return operation({
    name: "vm.delete",
    input: Type.Object({
      vmId: Type.String(),
      deleteDisks: Type.Optional(Type.Boolean()),
      force: Type.Optional(Type.Boolean()),
    }),
    check(input) {
      check(deps, input);
    },
    claims: ({ vmId }) => ({ exclusive: [vmClaim(deps.inventory, vmId)] }),
    target: ({ vmId }) => vmTarget(deps.inventory, vmId),
    steps: [
      {
        name: "plan",
        do: async ({ input, signal }) => ({ ...(await plan(deps, input, { signal })) }),
      },
      {
        name: "stop",
        pointOfNoReturn: true,
        async do({ result, signal }) {
          const { hostId, uuid } = result<Plan>("plan");
          await stopGuest(deps.providers.get(hostId).guest, uuid, { signal });
        },
      },
      {
        name: "undefine",
        pointOfNoReturn: true,
        async do({ input, result, signal }) {
          const { hostId, uuid } = result<Plan>("plan");
          const options = { keepState: input.deleteDisks !== true };
          await removeGuest(deps.providers.get(hostId).guest, uuid, { signal }, options);
        },
      },
      {
        name: "files",
        pointOfNoReturn: true,
        async do({ result, signal }) {
          const { hostId, owned, vmId } = result<Plan>("plan");
          await deleteFiles(deps, hostId, owned, { signal });
          await forgetSnapshots(deps.store, vmId);
        },
      },
      {
        name: "sync",
        async do(context) {
          const plan = context.result<Plan>("plan");
          await syncGuest(deps, context, plan, volumesOfPaths(deps, plan.hostId, plan.owned));
          // While another host can't be asked, what vanished is kept; this one was deleted here.
          if (deps.inventory.get("vm", plan.vmId)?.hostId !== plan.hostId) return;
          await deps.store.transaction((transaction) => transaction.delete("vm", plan.vmId));
        },
      },
    ],
    outcome({ input, result }) {
      const { vmId, name, owned, kept, keptState = [] } = result<Plan>("plan");
      const reason = input.deleteDisks === true ? sharedState : "firmware variables and TPM state stay with the disks";
      const keptVolumes = [...kept, ...keptState.map((path) => ({ path, reason }))];
      return { vmId, name, deletedVolumes: owned, keptVolumes };
    },
  });
}

function check(deps: OperationDeps, { vmId, force, deleteDisks }: Input): Vm {
  const vm = deps.inventory.require("vm", vmId, { field: "vmId" });
  if (force !== true) refuseRunning(vm);
  if (deleteDisks !== true) refuseLosingSnapshots(vm);
  deps.providers.get(vm.hostId);
  return vm;
}

async function plan(deps: OperationDeps, input: Input, call: Call): Promise<Plan> {
  const vm = check(deps, input);
  const { guest } = deps.providers.get(vm.hostId);
  const now = await readGuestIfAny(guest, vm.uuid, call);
  if (now !== undefined && input.force !== true) refuseRunning(now);
  if (now !== undefined && input.deleteDisks !== true) {
    refuseLosingSnapshots(now);
    refuseLosingMemory(now);
    if (now.spec.tpm === true) refuseLosingTpm(vm, deps.inventory.get("host", vm.hostId)?.hardware?.libvirtVersion);
  }
  const present = now === undefined ? vm : { ...vm, spec: now.spec };
  const files =
    input.deleteDisks === true
      ? await deletableFiles(deps, present, call)
      : { owned: [], kept: await keptFiles(deps, present) };
  const wanted = { keepState: input.deleteDisks !== true, dryRun: true };
  const keptState = await guest.lifecycle.undefine(vm.uuid, wanted, call);
  return { vmId: vm.id, name: vm.name, hostId: vm.hostId, uuid: vm.uuid, keptState, ...files };
}

function refuseRunning(vm: Pick<Vm, "name" | "state">): void {
  if (!isActive(vm)) return;
  throw new AppError("invalid_state", `VM ${vm.name} is ${vm.state}; it was not deleted.`, {
    remedy: "Shut it down first, or delete it with force.",
  });
}

/** libvirt forgets its snapshots with the VM, and nobody would find them in the disks that stay. */
function refuseLosingSnapshots({ name, foreignSnapshotCount }: Pick<Vm, "name" | "foreignSnapshotCount">): void {
  if (foreignSnapshotCount === 0) return;
  const message = `VM ${name} has snapshots in libvirt's own keeping (${foreignSnapshotCount}), which would be lost while its disks stay. Nothing was deleted.`;
  throw new AppError("conflict", message, {
    field: "deleteDisks",
    remedy: "Delete the snapshots first (inn snapshot delete), or delete the VM with its disks.",
  });
}

/** libvirt keeps no saved memory of a VM that it has forgotten. */
function refuseLosingMemory({ name, hasSavedMemory }: Pick<Guest, "name" | "hasSavedMemory">): void {
  if (!hasSavedMemory) return;
  const message = `VM ${name} is off with its memory saved (virsh managedsave), which would be lost while its disks stay. Nothing was deleted.`;
  throw new AppError("conflict", message, {
    field: "deleteDisks",
    remedy: `Start it once and shut it down, give the saved memory up with \`virsh managedsave-remove ${name}\`, or delete the VM with its disks.`,
  });
}

/** virDomainUndefineFlags keeps a TPM's state since libvirt 8.9. */
function refuseLosingTpm({ name }: Pick<Vm, "name">, libvirtVersion = ""): void {
  const [major = 0, minor = 0] = libvirtVersion.split(".").map(Number);
  if (libvirtVersion === "" || major > 8 || (major === 8 && minor >= 9)) return;
  const message = `VM ${name} has an emulated TPM, whose state the host's libvirt ${libvirtVersion} deletes with the VM (8.9 and newer can keep it). Nothing was done.`;
  throw new AppError("unsupported", message, {
    field: "deleteDisks",
    remedy:
      "Copy /var/lib/libvirt/swtpm/UUID on the host first and forget the VM there with virsh undefine --nvram, or delete it with its disks.",
  });
}

async function keptFiles(deps: OperationDeps, vm: Vm): Promise<Plan["kept"]> {
  return (await ownFiles(deps, vm)).map(({ path }) => ({ path, reason: "its disks were to stay" }));
}
