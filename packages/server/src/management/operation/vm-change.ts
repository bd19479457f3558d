/**
 * Changes a VM: live where the hypervisor can, else at the next start; the result says which. New disks are made first
 * and removed again if the change fails; volumes of removed disks go last, once nothing can fail any more.
 */
import { type OwnFacts, ownFacts } from "#management/vm/guest-metadata.ts";
import { Type } from "typebox";
import { VmChange, type Vm } from "@innkeeper/contract/resource/vm.ts";
import type { VmDisk, VmNic, VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { childrenOf } from "#management/snapshot/layer.ts";
import { readWorld } from "#management/snapshot/layer-world.ts";
import { deleteFiles, volumesOfPaths } from "#management/snapshot/merge.ts";
import { metadataOf, packConfiguration, unpackConfiguration } from "#management/snapshot/snapshot-record.ts";
import { planStep } from "#management/task/claimed-plan.ts";
import { operation, type Step, type StepContext } from "#management/task/operation.ts";
import { definitionWitness, leftToOthers, requireLetGo, writerOf } from "#management/vm/definition-guard.ts";
import { diskClaims } from "#management/vm/disk-claim.ts";
import { checkChange, diskOf } from "#management/vm/change-check.ts";
import { whyKept } from "#management/vm/device-rule.ts";
import { type DiskPlan, planDisks } from "#management/vm/disk-plan.ts";
import { volumesOf } from "#management/vm/disk-progress.ts";
import { disksStep, madeDisks } from "#management/vm/disk-step.ts";
import { type ResolvedChange, toGuestChange, toInverse } from "#management/vm/guest-change.ts";
import { readGuestIfAny, refuseSavedMemory } from "#management/vm/guest-read.ts";
import { vmClaim, vmTarget } from "#management/vm/lookup.ts";
import { planNics } from "#management/vm/nic-plan.ts";
import { requirePoolOfPath, volumeNameIn } from "#management/vm/storage-reach.ts";
import { syncGuest } from "#management/vm/sync.ts";
import type { GuestChangeResult } from "#virtualization/port.ts";
import type { OperationDeps } from "./deps.ts";

interface Plan {
  readonly vmId: Vm["id"];
  readonly hostId: string;
  readonly uuid: string;
  readonly disks: readonly DiskPlan[];
  readonly nics: readonly VmNic[];
  /** Paths of the volumes that go with their disks. */
  readonly deletes: readonly string[];
  readonly spec: VmSpec;
  /** Innkeeper's own facts of before; the inventory may show the new ones by the time they are needed. */
  readonly own: OwnFacts;
}
/** Packed domain XML and configuration right before the change, for its undo: copying disks takes its time. */
interface Before {
  readonly before: string;
  readonly spec: VmSpec;
}
type Input = { vmId: string; request: VmChange };

export function vmChange(deps: OperationDeps) {
  return operation({
    name: "vm.change",
    input: Type.Object({ vmId: Type.String(), request: VmChange }),
    check(input) {
      const vm = deps.inventory.require("vm", input.vmId, { field: "vmId" });
      checkChange(deps.inventory, vm, input.request);
      planNewDisks(deps, vm, input.request, "check");
      deps.providers.get(vm.hostId);
    },
    claims({ vmId, request }) {
      const vm = deps.inventory.require("vm", vmId);
      const { exclusive, shared } = diskClaims(deps.inventory, vm.hostId, request.disksAdd ?? []);
      return { exclusive: [vmClaim(deps.inventory, vm.id), ...exclusive], shared };
    },
    target: ({ vmId }) => vmTarget(deps.inventory, vmId),
    steps: [
      planStep(
        deps.inventory,
        ({ input, taskId, signal }: StepContext<Input>) => plan(deps, input, taskId, { signal }),
        ({ hostId, disks }) => ({ hostId, volumes: volumesOf(disks) }),
      ),
      disksStep(deps),
      changeStep(deps),
      {
        name: "volumes",
        pointOfNoReturn: true,
        async do({ result, signal }) {
          const made = result<Plan>("plan");
          const keptVolumes = await stillAttached(deps, made, made.deletes, { signal });
          const deletedVolumes = made.deletes.filter((path) => !keptVolumes.includes(path));
          await deleteFiles(deps, made.hostId, deletedVolumes, { signal });
          return { deletedVolumes, keptVolumes };
        },
      },
      {
        name: "sync",
        async do(context) {
          const made = context.result<Plan>("plan");
          const changed = [...volumesOf(made.disks), ...volumesOfPaths(deps, made.hostId, sourcesOf(made.spec))];
          await syncGuest(deps, context, made, changed);
        },
      },
    ],
    outcome({ result }) {
      const { applied, pending } = result<{ applied: string[]; pending: string[] }>("change");
      return { applied, pending, ...result("volumes") };
    },
  });
}

function changeStep(deps: OperationDeps): Step<Input> {
  return {
    name: "change",
    async do(context) {
      return { ...(await change(deps, context)) };
    },
    async undo(context) {
      const made = context.resultIfAny<Plan>("plan");
      const disks = context.resultIfAny<{ disks: VmDisk[] }>("disks")?.disks;
      const before = context.resultIfAny<Before>("before");
      if (made === undefined || disks === undefined || before === undefined) return undefined;
      const left = await restore(deps, context, { ...made, ...before }, disks);
      await syncGuest(deps, context, made);
      return left;
    },
  };
}

function planNewDisks(deps: OperationDeps, vm: Vm, request: VmChange, taskId: string): DiskPlan[] {
  const { inventory } = deps;
  const context = {
    inventory,
    host: inventory.require("host", vm.hostId),
    vm,
    field: "disksAdd",
    machine: request.machine ?? vm.spec.machine,
    usedTargets: vm.spec.disks.map((disk) => disk.target),
    unique: taskId,
  };
  return planDisks(context, request.disksAdd ?? []);
}

async function plan(deps: OperationDeps, input: Input, taskId: string, call: Call): Promise<Plan> {
  const stored = deps.inventory.require("vm", input.vmId, { field: "vmId" });
  const { guest } = deps.providers.get(stored.hostId);
  const now = await guest.inventory.read(stored.uuid, call);
  const vm: Vm = { ...stored, state: now.state, spec: now.spec };
  checkChange(deps.inventory, vm, input.request);
  const { cpu, memory, disksAdd, disksRemove, disksChange } = input.request;
  const isDeep = [cpu, memory, disksAdd, disksRemove, disksChange].some((part) => part !== undefined);
  if (isDeep) refuseSavedMemory(now, "be changed in its CPUs, memory, or disks");
  return {
    vmId: vm.id,
    hostId: vm.hostId,
    uuid: vm.uuid,
    disks: planNewDisks(deps, vm, input.request, taskId),
    nics: planNics(deps.inventory, input.request.nicsAdd ?? []),
    deletes: await deletableDisks(deps, vm, input.request, call),
    spec: now.spec,
    own: ownFacts(stored),
  };
}

/** conflict if anyone but this VM's present disk needs a volume that is to be deleted. */
async function deletableDisks(deps: OperationDeps, vm: Vm, request: VmChange, call: Call): Promise<string[]> {
  const doomed = (request.disksRemove ?? []).filter((each) => each.deleteVolume === true);
  if (doomed.length === 0) return [];
  const world = await readWorld(deps, vm.hostId, [vm], call);
  return doomed.map(({ target }) => {
    const index = (request.disksRemove ?? []).findIndex((each) => each.target === target);
    const field = `disksRemove[${index}].deleteVolume`;
    const disk = diskOf(vm, target, field);
    const { source } = disk;
    if (source === undefined || disk.device === "cdrom" || disk.device === "floppy") {
      throw new AppError("invalid_field", `${target} has no volume that could be deleted.`, { field });
    }
    const why = whyKept(vm, disk);
    if (why !== undefined) {
      const message = `The volume of disk ${target} (${source}) is never deleted: ${why}. Nothing was changed.`;
      throw new AppError("unsupported", message, { field, remedy: "Take the disk off without deleting its volume." });
    }
    requirePoolOfPath(deps.inventory, vm.hostId, source, `Disk ${target} of VM ${vm.name}`);
    const users = [
      ...world.holds
        .filter(
          (hold) => hold.path === source && !(hold.kind === "vm" && hold.vmId === vm.id && hold.target === target),
        )
        .map((hold) => hold.title),
      ...childrenOf(world, source).map((layer) => `volume ${layer.path}`),
    ];
    if (users.length === 0) return source;
    throw new AppError("conflict", `The volume of disk ${target} is used by ${users.join(", ")}.`, { field });
  });
}

async function change(deps: OperationDeps, context: StepContext<Input>): Promise<GuestChangeResult> {
  const { input, taskId, resultIfAny } = context;
  const made = context.result<Plan>("plan");
  const call = { signal: context.signal };
  const { guest } = deps.providers.get(made.hostId);
  const now = await guest.inventory.read(made.uuid, call);
  if (resultIfAny("before") === undefined) {
    const before = packConfiguration(await guest.inventory.xml(made.uuid, { inactive: true }, call));
    await context.keep("before", { before, spec: now.spec });
  }
  const running = isActive(now);
  const { metadata, ...resolved } = await resolve(deps, input, made, madeDisks(context));
  const asked = toGuestChange({ ...resolved, metadata: { ...metadata, taskId } }, now.spec, running);
  const result = await guest.lifecycle.change(made.uuid, asked, call, definitionWitness(context));
  if (running) return result;
  const grown = await growStopped(deps, made, input.request, call);
  return { applied: [...result.applied, ...grown], pending: result.pending };
}

/** A stopped guest's disks grow through their storage. */
async function growStopped(deps: OperationDeps, made: Plan, request: VmChange, call: Call): Promise<string[]> {
  const { volume } = deps.providers.get(made.hostId).storage;
  const applied: string[] = [];
  for (const { target, capacityBytes } of request.disksChange ?? []) {
    const source = made.spec.disks.find((disk) => disk.target === target)?.source;
    if (capacityBytes === undefined || source === undefined) continue;
    const pool = requirePoolOfPath(deps.inventory, made.hostId, source, `Disk ${target}`);
    const stored = await volume.findVolumeByPath(source, call);
    if (stored !== undefined && stored.capacityBytes < capacityBytes) {
      await volume.resizeVolume(pool.name, volumeNameIn(pool, source), capacityBytes, call);
    }
    applied.push(`disks.${target}.capacityBytes`);
  }
  return applied;
}

/**
 * Live parts by the inverse change, the persistent configuration as a whole, if nobody else has written it since. A disk
 * that grew stays grown; a guest that is gone has nothing to restore. Answers what it left to others.
 */
async function restore(
  deps: OperationDeps,
  context: StepContext<Input>,
  made: Plan & Before,
  disks: readonly VmDisk[],
): Promise<string | undefined> {
  const { input } = context;
  const call = { signal: context.signal };
  const { guest } = deps.providers.get(made.hostId);
  const now = await readGuestIfAny(guest, made.uuid, call);
  const writer = await writerOf(deps, context, made, call);
  if (now === undefined || writer === "gone") return undefined;
  const sources = sourcesOf({ disks });
  if (writer === "others") {
    const ours = disks.filter((_, index) => isMade(made.disks[index]));
    requireLetGo(await guest.inventory.xml(made.uuid, { inactive: true }, call), sourcesOf({ disks: ours }));
    await requireDetached(deps, made, sources, call);
    return leftToOthers;
  }
  const metadata = await metadataOf(deps, made.vmId, made.own);
  const resolved = await resolve(deps, input, made, disks);
  const before = unpackConfiguration(made.before);
  const live = isActive(now) ? { ...toInverse(resolved, made.spec, now.spec), devicesFrom: before } : {};
  // libvirt keeps autostart beside the XML.
  const autostart =
    input.request.autostart === undefined ? {} : { hardware: { autostart: made.spec.autostart ?? false } };
  await guest.lifecycle.change(made.uuid, { ...live, ...autostart, metadata }, call);
  await guest.lifecycle.defineXml(before, { metadata }, call);
  await requireDetached(deps, made, sources, call);
  return undefined;
}

/** One that was there before is not deleted. */
function isMade(plan: DiskPlan | undefined): boolean {
  return plan !== undefined && plan.origin.kind !== "existing" && plan.origin.kind !== "empty";
}

async function requireDetached(deps: OperationDeps, made: Plan, paths: readonly string[], call: Call): Promise<void> {
  const held = await stillAttached(deps, made, paths, call);
  if (held.length === 0) return;
  const message = `The guest has not let go of ${held.join(", ")}: the volumes stay until it does.`;
  throw new AppError("conflict", message, { remedy: "Power the VM off, then delete the volumes." });
}

async function resolve(
  deps: OperationDeps,
  input: Input,
  made: Plan,
  disks: readonly VmDisk[],
): Promise<ResolvedChange> {
  const { description, tags, template, folder } = input.request;
  const own = {
    ...(description === undefined ? {} : { description }),
    ...(tags === undefined ? {} : { tags }),
    ...(template === undefined ? {} : { template }),
    ...(folder === undefined ? {} : { folder: folder ?? "" }),
  };
  return { request: input.request, disks, nics: made.nics, metadata: await metadataOf(deps, made.vmId, own) };
}

/** Those of the files that the running guest has open still: an unplug that it did not follow waits for its next start. */
async function stillAttached(deps: OperationDeps, made: Plan, paths: readonly string[], call: Call): Promise<string[]> {
  if (paths.length === 0) return [];
  const now = await readGuestIfAny(deps.providers.get(made.hostId).guest, made.uuid, call);
  const used = new Set(now !== undefined && isActive(now) ? sourcesOf(now.spec) : []);
  return paths.filter((path) => used.has(path));
}

function sourcesOf({ disks }: { readonly disks: readonly VmDisk[] }): string[] {
  return disks.flatMap((disk) => disk.source ?? []);
}
