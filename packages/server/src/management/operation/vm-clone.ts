/**
 * Clones a VM, on its own host. Full: its disks are copied, chains flattened. Linked: overlays on layers that never
 * change any more: those of a snapshot, which is taken for it if none is named (as vSphere requires). A full clone of the
 * present state of a running VM copies layers that are frozen for as long as it takes. The clone gets its own UUID,
 * MACs, NVRAM and TPM state.
 */
import { Type } from "typebox";
import { randomUUID } from "node:crypto";
import { newId, type SnapshotId, type VmId } from "@innkeeper/contract/id.ts";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import { VmClone, type Vm } from "@innkeeper/contract/resource/vm.ts";
import { AppError } from "#core/app-error.ts";
import { timestamp } from "#core/clock.ts";
import { planClone, type SourceLayer } from "#management/vm/clone-plan.ts";
import { filesOf, freeze, type FreezePlan, planFreeze, thaw, thawedFiles } from "#management/snapshot/freeze.ts";
import {
  addSnapshot,
  dropSnapshot,
  packConfiguration,
  readConfiguration,
  currentSnapshot,
  unpackConfiguration,
  writeMetadata,
} from "#management/snapshot/snapshot-record.ts";
import { planStep } from "#management/task/claimed-plan.ts";
import { operation, type Step, type StepContext } from "#management/task/operation.ts";
import { isCopied } from "#management/vm/device-rule.ts";
import type { DiskPlan } from "#management/vm/disk-plan.ts";
import { volumesOf } from "#management/vm/disk-progress.ts";
import { disksStep, madeDisks } from "#management/vm/disk-step.ts";
import { newGuestMetadata } from "#management/vm/guest-metadata.ts";
import { checkClone, cloneSource, isAsFrozen } from "#management/vm/clone-check.ts";
import { refuseSavedMemory, removeOwnGuest, unlessGone } from "#management/vm/guest-read.ts";
import { nameClaim, vmClaim, vmTarget } from "#management/vm/lookup.ts";
import { syncGuest } from "#management/vm/sync.ts";
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { OperationDeps } from "./deps.ts";

interface Plan {
  readonly hostId: string;
  readonly sourceId: Vm["id"];
  readonly sourceUuid: string;
  readonly vm: { readonly id: VmId; readonly name: string; readonly uuid: string };
  readonly createdAt: string;
  readonly disks: readonly DiskPlan[];
  /** Packed domain XML that the clone is defined from. */
  readonly configuration: string;
  /** The snapshot that is cloned, if there was one. */
  readonly baseId?: SnapshotId;
  /** The source's layers are frozen first: for good under a snapshot (linked), or for as long as the copy takes. */
  readonly freeze?: FreezePlan;
  readonly snapshot?: {
    readonly id: SnapshotId;
    readonly parentId: Snapshot["parentId"];
    readonly vmState: Snapshot["vmState"];
  };
}
type Input = { vmId: string; request: VmClone };

export function vmClone(deps: OperationDeps) {
  return operation({
    name: "vm.clone",
    input: Type.Object({ vmId: Type.String(), request: VmClone }),
    check({ vmId, request }) {
      const source = cloneSource(deps.inventory, vmId, request);
      checkClone(deps.inventory, source, request);
      deps.providers.get(source.vm.hostId);
    },
    claims: ({ vmId, request }) => ({ exclusive: [vmClaim(deps.inventory, vmId), nameClaim(request.name)] }),
    target: ({ vmId }) => vmTarget(deps.inventory, vmId),
    steps: [
      planStep(
        deps.inventory,
        ({ input, taskId, signal }: StepContext<Input>) => plan(deps, input, taskId, signal),
        ({ hostId, disks, freeze: frozen }) => ({
          hostId,
          volumes: [...volumesOf(disks), ...(frozen === undefined ? [] : filesOf(frozen))],
        }),
      ),
      freezeStep(deps),
      baseStep(deps),
      disksStep(deps),
      defineStep(deps),
      {
        name: "thaw",
        isNeedless({ result }) {
          const { freeze: frozen, snapshot } = result<Plan>("plan");
          return frozen === undefined || snapshot !== undefined;
        },
        async do(context) {
          const { freeze: frozen } = context.result<Plan>("plan");
          if (frozen !== undefined) await thaw(deps, context, frozen);
        },
      },
      {
        name: "start",
        isNeedless: ({ input }) => input.request.start !== true,
        do: (context) => start(deps, context),
      },
      {
        name: "sync",
        async do(context) {
          const made = context.result<Plan>("plan");
          await syncGuest(deps, context, { hostId: made.hostId, uuid: made.vm.uuid }, volumesOf(made.disks));
          if (made.freeze !== undefined) {
            await syncGuest(deps, context, made.freeze, thawedFiles(deps.inventory, made.freeze));
          }
        },
      },
    ],
    outcome({ input, result }) {
      const { vm, snapshot, baseId } = result<Plan>("plan");
      const base = snapshot?.id ?? baseId;
      const lies = base === undefined ? {} : { baseSnapshotId: base };
      return { vmId: vm.id, name: vm.name, linked: input.request.linked === true, ...lies };
    },
  });
}

function freezeStep(deps: OperationDeps): Step<Input> {
  return {
    name: "freeze",
    isNeedless: ({ result }) => result<Plan>("plan").freeze === undefined,
    async do({ input, result, repeated, signal }) {
      const { freeze: frozen } = result<Plan>("plan");
      if (frozen === undefined) return;
      const quiesce = await canQuiesce(deps, input, frozen, signal);
      await freeze(deps, frozen, { quiesce, repeated }, { signal });
    },
    async undo(context) {
      const frozen = context.resultIfAny<Plan>("plan")?.freeze;
      if (frozen === undefined) return;
      await thaw(deps, context, frozen);
      await syncGuest(deps, context, frozen, thawedFiles(deps.inventory, frozen));
    },
  };
}

/** The snapshot that a linked clone lies on. */
function baseStep(deps: OperationDeps): Step<Input> {
  return {
    name: "snapshot",
    isNeedless: ({ result }) => result<Plan>("plan").snapshot === undefined,
    async do({ input, result, signal }) {
      const made = result<Plan>("plan");
      if (made.snapshot === undefined || made.freeze === undefined) return;
      const document = baseSnapshot(made, made.freeze, made.snapshot, input.request.name);
      await addSnapshot(deps.store, document, made.configuration);
      await writeMetadata(deps, made.sourceId, { signal });
    },
    async undo({ resultIfAny, signal }) {
      const made = resultIfAny<Plan>("plan");
      if (made?.snapshot === undefined) return;
      await dropSnapshot(deps.store, made.sourceId, made.snapshot.id, made.snapshot.parentId);
      await writeMetadata(deps, made.sourceId, { signal }).catch(unlessGone);
    },
  };
}

function defineStep(deps: OperationDeps): Step<Input> {
  return {
    name: "define",
    do: (context) => define(deps, context, madeDisks(context)),
    async undo(context) {
      const made = context.resultIfAny<Plan>("plan");
      if (made === undefined) return;
      await removeOwnGuest(deps.providers.get(made.hostId).guest, made.vm, { signal: context.signal });
      await syncGuest(deps, context, { hostId: made.hostId, uuid: made.vm.uuid });
    },
  };
}

async function plan(deps: OperationDeps, input: Input, taskId: string, signal: AbortSignal): Promise<Plan> {
  const source = cloneSource(deps.inventory, input.vmId, input.request);
  const { vm, snapshot } = source;
  const { guest, storage } = deps.providers.get(vm.hostId);
  const now = await guest.inventory.read(vm.uuid, { signal });
  checkClone(deps.inventory, { ...source, vm: { ...vm, state: now.state, spec: now.spec } }, input.request);
  if (snapshot === undefined) refuseSavedMemory(now, "be cloned");
  const linked = input.request.linked === true;
  const unchanged = linked && !isActive(now) && (await isAsFrozen(deps, vm, now, { signal }));
  const base = snapshot ?? (unchanged ? currentSnapshot(deps.inventory, vm.id) : undefined);
  const snapshotId = linked && base === undefined ? newId("snapshot") : undefined;
  const mustFreeze = base === undefined && (linked || isActive(now));
  const frozen = mustFreeze
    ? await planFreeze(deps, vm, now, snapshotId ?? taskId, { memory: false }, { signal })
    : undefined;
  const xml =
    base === undefined
      ? await guest.inventory.xml(vm.uuid, { inactive: true }, { signal })
      : await readConfiguration(deps.store, base);
  const layers: SourceLayer[] = [];
  const present = now.spec.disks
    .filter(isCopied)
    .flatMap(({ target, source: path, format = "raw" }) => (path === undefined ? [] : [{ target, path, format }]));
  for (const layer of base?.disks ?? present) {
    const stored = await storage.volume.findVolumeByPath(layer.path, { signal });
    if (stored === undefined) throw new AppError("not_found", `The layer ${layer.path} is gone from its storage.`);
    const { capacityBytes, allocationBytes } = stored;
    layers.push({ ...layer, capacityBytes, allocationBytes });
  }
  const clone = { id: newId("vm"), name: input.request.name, uuid: randomUUID() };
  await guest.lifecycle.check({ xml, name: clone.name, uuid: clone.uuid }, { signal });
  return {
    hostId: vm.hostId,
    sourceId: vm.id,
    sourceUuid: vm.uuid,
    vm: clone,
    createdAt: timestamp(deps.clock),
    disks: planClone(deps.inventory, vm, clone, layers, input.request),
    configuration: packConfiguration(xml),
    ...(frozen === undefined ? {} : { freeze: frozen }),
    ...(base === undefined ? {} : { baseId: base.id }),
    ...(snapshotId === undefined ? {} : { snapshot: baseOf(deps, vm, snapshotId, isActive(now)) }),
  };
}

function baseOf(deps: OperationDeps, vm: Vm, id: SnapshotId, active: boolean): NonNullable<Plan["snapshot"]> {
  const parentId = currentSnapshot(deps.inventory, vm.id)?.id ?? null;
  return { id, parentId, vmState: active ? "running" : "shutoff" };
}

function baseSnapshot(
  made: Plan,
  frozen: FreezePlan,
  base: NonNullable<Plan["snapshot"]>,
  cloneName: string,
): Omit<Snapshot, "revision"> {
  return {
    id: base.id,
    vmId: made.sourceId,
    name: `base of ${cloneName} (${base.id.slice(-4)})`,
    description: `Taken for the linked clone ${cloneName}, whose disks lie on it.`,
    parentId: base.parentId,
    current: true,
    withMemory: false,
    quiesced: false,
    vmState: base.vmState,
    disks: frozen.disks.map((disk) => ({ target: disk.target, ...disk.frozen })),
    createdAt: made.createdAt,
  };
}

/** File systems are frozen if the guest can do it; else the copy is what a power cut would leave. */
async function canQuiesce(
  deps: OperationDeps,
  input: Input,
  frozen: FreezePlan,
  signal: AbortSignal,
): Promise<boolean> {
  if (!frozen.wasActive) return false;
  const vm = deps.inventory.require("vm", input.vmId);
  const { guest } = deps.providers.get(frozen.hostId);
  if (!(await guest.inventory.read(vm.uuid, { signal })).guestAgentConnected) return false;
  return guest.console.agent(vm.uuid, { signal }).then(
    () => true,
    () => false,
  );
}

async function define(deps: OperationDeps, context: StepContext<Input>, disks: readonly VmDisk[]): Promise<void> {
  const made = context.result<Plan>("plan");
  const { description, folder } = context.input.request;
  const source = deps.inventory.require("vm", made.sourceId);
  const metadata = newGuestMetadata(made.vm.id, made.createdAt, {
    description: description ?? source.description,
    tags: source.tags,
    folder: folder ?? source.folder ?? "",
  });
  const files = disks.flatMap(({ target, source: path, format = "qcow2" }) =>
    path === undefined ? [] : ([[target, { path, format }]] as const),
  );
  const edits = {
    name: made.vm.name,
    uuid: made.vm.uuid,
    disks: new Map(files),
    newMacs: true,
    metadata,
    secretsOf: made.sourceUuid,
  };
  const { lifecycle } = deps.providers.get(made.hostId).guest;
  await lifecycle.defineXml(unpackConfiguration(made.configuration), edits, { signal: context.signal });
}

async function start(deps: OperationDeps, context: StepContext<Input>): Promise<void> {
  const { hostId, vm } = context.result<Plan>("plan");
  const { guest } = deps.providers.get(hostId);
  const call = { signal: context.signal };
  if (!isActive(await guest.inventory.read(vm.uuid, call))) await guest.lifecycle.start(vm.uuid, {}, call);
}
