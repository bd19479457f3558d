/**
 * Takes a snapshot: the disks' present layers are frozen under new overlays, with `memory` the guest's memory is saved
 * at the same instant, and the configuration is kept. Undone, the overlays are merged back.
 */
import { Type } from "typebox";
import { newId, type SnapshotId } from "@innkeeper/contract/id.ts";
import { checkName } from "@innkeeper/contract/name.ts";
import { type Snapshot, SnapshotCreate } from "@innkeeper/contract/resource/snapshot.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { timestamp } from "#core/clock.ts";
import {
  filesOf,
  freeze,
  type FreezePlan,
  planFreeze,
  refuseForeignSnapshots,
  thaw,
  thawedFiles,
} from "#management/snapshot/freeze.ts";
import {
  addSnapshot,
  currentSnapshot,
  dropSnapshot,
  packConfiguration,
  snapshotsOf,
  writeMetadata,
} from "#management/snapshot/snapshot-record.ts";
import { planStep } from "#management/task/claimed-plan.ts";
import { operation, type StepContext } from "#management/task/operation.ts";
import { isWritten, refuseDisks, refuseUnsavable } from "#management/vm/device-rule.ts";
import { refuse } from "#management/vm/field-check.ts";
import { unlessGone } from "#management/vm/guest-read.ts";
import { requirePersistent, requireState, vmClaim, vmTarget } from "#management/vm/lookup.ts";
import { syncGuest } from "#management/vm/sync.ts";
import type { Guest } from "#virtualization/port.ts";
import type { OperationDeps } from "./deps.ts";

interface Plan {
  readonly vmId: Vm["id"];
  readonly snapshotId: SnapshotId;
  readonly parentId: Snapshot["parentId"];
  readonly vmState: Snapshot["vmState"];
  readonly freeze: FreezePlan;
  /** Packed domain XML. */
  readonly configuration: string;
  readonly createdAt: string;
}

type Input = { vmId: string; request: SnapshotCreate };

export function snapshotCreate(deps: OperationDeps) {
  return operation({
    name: "snapshot.create",
    input: Type.Object({ vmId: Type.String(), request: SnapshotCreate }),
    check({ vmId, request }) {
      const vm = deps.inventory.require("vm", vmId, { field: "vmId" });
      checkSnapshot(deps, vm, request);
      deps.providers.get(vm.hostId);
    },
    claims: ({ vmId }) => ({ exclusive: [vmClaim(deps.inventory, vmId)] }),
    target: ({ vmId }) => vmTarget(deps.inventory, vmId),
    steps: [
      planStep(
        deps.inventory,
        ({ input, signal }: StepContext<Input>) => plan(deps, input, { signal }),
        ({ freeze: frozen }) => ({ hostId: frozen.hostId, volumes: filesOf(frozen) }),
      ),
      {
        name: "freeze",
        async do({ input, result, repeated, signal, progress }) {
          const onProgress = (done: number, total: number): void =>
            progress({ done, total, unit: "byte" }, "saving the guest's memory");
          const quiesce = input.request.quiesce === true;
          await freeze(deps, result<Plan>("plan").freeze, { quiesce, repeated }, { signal, onProgress });
        },
        async undo(context) {
          const plan = context.resultIfAny<Plan>("plan");
          if (plan === undefined) return;
          await thaw(deps, context, plan.freeze);
          await syncGuest(deps, context, plan.freeze, thawedFiles(deps.inventory, plan.freeze));
        },
      },
      {
        name: "record",
        async do(context) {
          const plan = context.result<Plan>("plan");
          const added = addSnapshot(deps.store, snapshotDocument(plan, context.input.request), plan.configuration);
          await Promise.all([
            added.then(() => writeMetadata(deps, plan.vmId, { signal: context.signal })),
            syncGuest(deps, context, plan.freeze, filesOf(plan.freeze)),
          ]);
        },
        async undo({ resultIfAny, signal }) {
          const plan = resultIfAny<Plan>("plan");
          if (plan === undefined) return;
          await dropSnapshot(deps.store, plan.vmId, plan.snapshotId, plan.parentId);
          await writeMetadata(deps, plan.vmId, { signal }).catch(unlessGone);
        },
      },
    ],
    outcome: ({ result }) => ({ snapshotId: result<Plan>("plan").snapshotId }),
  });
}

async function plan(deps: OperationDeps, input: Input, call: Call): Promise<Plan> {
  const vm = deps.inventory.require("vm", input.vmId, { field: "vmId" });
  checkSnapshot(deps, vm, input.request);
  const { guest } = deps.providers.get(vm.hostId);
  const [now, xml] = await Promise.all([
    guest.inventory.read(vm.uuid, call),
    guest.inventory.xml(vm.uuid, { inactive: true }, call),
  ]);
  const memory = input.request.memory === true;
  if (memory && !isActive(now)) refuse("memory", `VM ${vm.name} does not run: it has no memory to save.`);
  const snapshotId = newId("snapshot");
  return {
    vmId: vm.id,
    snapshotId,
    parentId: currentSnapshot(deps.inventory, vm.id)?.id ?? null,
    vmState: stateAtSnapshot(now),
    freeze: await planFreeze(deps, vm, now, snapshotId, { memory }, call),
    configuration: packConfiguration(xml),
    createdAt: timestamp(deps.clock),
  };
}

function checkSnapshot(deps: OperationDeps, vm: Vm, request: SnapshotCreate): void {
  const wrong = checkName(request.name);
  if (wrong !== undefined) refuse("name", `The name ${wrong}.`);
  if (snapshotsOf(deps.inventory, vm.id).some((snapshot) => snapshot.name === request.name)) {
    refuse("name", `VM ${vm.name} already has a snapshot ${JSON.stringify(request.name)}.`, "name_taken");
  }
  if (request.quiesce === true && request.memory === true) {
    refuse("quiesce", "A snapshot with memory needs no quiescing: what is in flight is in the memory.");
  }
  requirePersistent(vm, "snapshotted");
  requireState(vm, "snapshot", "snapshotted");
  if (request.memory === true) requireState(vm, "snapshotWithMemory", "snapshotted with its memory");
  if (request.quiesce === true && !isActive(vm)) {
    refuse("quiesce", `VM ${vm.name} does not run: there is nothing to quiesce.`, "invalid_state");
  }
  if (request.quiesce === true && !vm.guestAgentConnected) {
    throw new AppError("guest_agent_unavailable", `The guest agent of VM ${vm.name} is not connected.`, {
      field: "quiesce",
    });
  }
  refuseForeignSnapshots(vm);
  refuseDisks(vm, vm.spec.disks.filter(isWritten), "freeze", "be snapshotted");
  if (request.memory === true) refuseUnsavable(vm, "be snapshotted with its memory");
}

function stateAtSnapshot(guest: Guest): Snapshot["vmState"] {
  if (!isActive(guest)) return "shutoff";
  return guest.state === "paused" ? "paused" : "running";
}

function snapshotDocument(plan: Plan, request: SnapshotCreate): Omit<Snapshot, "revision"> {
  return {
    id: plan.snapshotId,
    vmId: plan.vmId,
    name: request.name,
    description: request.description ?? "",
    parentId: plan.parentId,
    current: true,
    withMemory: plan.freeze.memory !== undefined,
    quiesced: request.quiesce === true,
    vmState: plan.vmState,
    disks: plan.freeze.disks.map(({ target, frozen }) => ({ target, ...frozen })),
    ...(plan.freeze.memory === undefined ? {} : { memoryPath: plan.freeze.memory.path }),
    createdAt: plan.createdAt,
  };
}
