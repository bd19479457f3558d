/**
 * Edits a VM's definition as a whole, as virsh edit does: a running VM follows at its next start. The definition of
 * before is stored first, and is what is put back.
 */
import { type OwnFacts, ownFacts } from "#management/vm/guest-metadata.ts";
import { createHash } from "node:crypto";
import { Type } from "typebox";
import { VmEdit } from "@innkeeper/contract/resource/vm-document.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { metadataOf, packConfiguration, unpackConfiguration } from "#management/snapshot/snapshot-record.ts";
import { operation, type StepContext } from "#management/task/operation.ts";
import { definitionWitness, leftToOthers, requireUnchanged, writerOf } from "#management/vm/definition-guard.ts";
import { checkEditedSpec } from "#management/vm/change-check.ts";
import { refuseSavedMemory } from "#management/vm/guest-read.ts";
import { requirePersistent, requireState, vmClaim, vmTarget } from "#management/vm/lookup.ts";
import { syncGuest } from "#management/vm/sync.ts";
import type { OperationDeps } from "./deps.ts";

interface Plan {
  readonly vmId: Vm["id"];
  readonly hostId: string;
  readonly uuid: string;
  /** Packed. */
  readonly before: string;
  readonly running: boolean;
  readonly changed: readonly string[];
  /** Innkeeper's own facts of before. */
  readonly own: OwnFacts;
}
type Input = { vmId: string; request: VmEdit };

const checkTimeoutMs = 30_000;

export function vmEdit(deps: OperationDeps) {
  return operation({
    name: "vm.edit",
    input: Type.Object({ vmId: Type.String(), request: VmEdit }),
    async check(input) {
      await plan(deps, input, { signal: AbortSignal.timeout(checkTimeoutMs) });
    },
    claims: ({ vmId }) => ({ exclusive: [vmClaim(deps.inventory, vmId)] }),
    target: ({ vmId }) => vmTarget(deps.inventory, vmId),
    steps: [
      { name: "plan", do: async ({ input, signal }) => ({ ...(await plan(deps, input, { signal })) }) },
      {
        name: "define",
        do: (context) => define(deps, context),
        async undo(context) {
          const made = context.resultIfAny<Plan>("plan");
          if (made === undefined) return undefined;
          const left = await restore(deps, context, made);
          await syncGuest(deps, context, made);
          return left;
        },
      },
      { name: "sync", do: (context) => syncGuest(deps, context, context.result<Plan>("plan")) },
    ],
    outcome({ result }) {
      const { running, changed } = result<Plan>("plan");
      return running ? { applied: [], pending: changed } : { applied: changed, pending: [] };
    },
  });
}

async function plan(deps: OperationDeps, { vmId, request }: Input, call: Call): Promise<Plan> {
  const { inventory } = deps;
  const vm = inventory.require("vm", vmId, { field: "vmId" });
  requireState(vm, "change", "edited");
  requirePersistent(vm, "edited");
  const { guest } = deps.providers.get(vm.hostId);
  const now = await guest.inventory.read(vm.uuid, call);
  refuseSavedMemory(now, "be edited");
  const from = await guest.inventory.xml(vm.uuid, { inactive: true }, call);
  if (request.baseSha256 !== undefined && request.baseSha256 !== digestOf(from)) {
    throw new AppError(
      "precondition_failed",
      `The definition of VM ${vm.name} was changed since it was read. Nothing was done.`,
      { field: "baseSha256", remedy: "Read it again, and make the edit in what it is now." },
    );
  }
  const { spec, changed } = await guest.lifecycle.edit(vm.uuid, { from, document: request.domainXml }, call);
  checkEditedSpec(inventory, vm, spec, changed);
  return {
    vmId: vm.id,
    hostId: vm.hostId,
    uuid: vm.uuid,
    before: packConfiguration(from),
    running: isActive(now),
    changed,
    own: ownFacts(vm),
  };
}

/** A second attempt finds its own work, or what it began with: both are edited from what the plan saw. */
async function define(deps: OperationDeps, context: StepContext<Input>): Promise<void> {
  const { input, taskId, signal } = context;
  const made = context.result<Plan>("plan");
  const { vmId, hostId, uuid, before } = made;
  const { guest } = deps.providers.get(hostId);
  await requireUnchanged(deps, context, made, { signal });
  const metadata = await metadataOf(deps, vmId, { taskId });
  const edit = { from: unpackConfiguration(before), document: input.request.domainXml, metadata };
  const { description } = await guest.lifecycle.edit(uuid, edit, { signal }, definitionWitness(context));
  await guest.lifecycle.change(uuid, { metadata: { ...metadata, description } }, { signal });
}

/** Only of what this task wrote; a guest that is gone has nothing to restore. Answers what it left to others. */
async function restore(deps: OperationDeps, context: StepContext<Input>, made: Plan): Promise<string | undefined> {
  const call = { signal: context.signal };
  const writer = await writerOf(deps, context, made, call);
  if (writer === "others") return leftToOthers;
  if (writer === "gone") return undefined;
  const { guest } = deps.providers.get(made.hostId);
  const metadata = await metadataOf(deps, made.vmId, made.own);
  await guest.lifecycle.change(made.uuid, { metadata }, call);
  await guest.lifecycle.defineXml(unpackConfiguration(made.before), { metadata }, call);
  return undefined;
}

function digestOf(xml: string): string {
  return createHash("sha256").update(xml).digest("hex");
}
