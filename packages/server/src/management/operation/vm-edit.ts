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
import { checkEditedSpec } from "#management/vm/change-check.ts";
import { readGuestIfAny, refuseSavedMemory } from "#management/vm/guest-read.ts";
import { requirePersistent, requireState, vmClaim, vmTarget } from "#management/vm/lookup.ts";
import { syncGuest } from "#management/vm/sync.ts";
import type { OperationDeps } from "./deps.ts";

interface Plan {
  readonly vmId: Vm["id"];
  readonly hostId: string;
  readonly uuid: string;
  /** Packed; and of the whole. */
  readonly before: string;
  readonly sha256: string;
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
          if (made === undefined) return;
          await restore(deps, made, { signal: context.signal });
          await syncGuest(deps, context, made);
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
  const sha256 = digestOf(from);
  if (request.baseSha256 !== undefined && request.baseSha256 !== sha256) {
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
    sha256,
    running: isActive(now),
    changed,
    own: ownFacts(vm),
  };
}

/** A second attempt finds its own work, or what it began with: both are edited from what the plan saw. */
async function define(deps: OperationDeps, context: StepContext<Input>): Promise<void> {
  const { input, repeated, signal } = context;
  const { vmId, hostId, uuid, before, sha256 } = context.result<Plan>("plan");
  const { guest } = deps.providers.get(hostId);
  const now = await guest.inventory.xml(uuid, { inactive: true }, { signal });
  if (!repeated && digestOf(now) !== sha256) {
    const message = "The VM was changed on its host at the same moment; nothing was changed here.";
    throw new AppError("conflict", message, { remedy: "Look at the VM and try again." });
  }
  const metadata = await metadataOf(deps, vmId);
  const edit = { from: unpackConfiguration(before), document: input.request.domainXml, metadata };
  const { description } = await guest.lifecycle.edit(uuid, edit, { signal });
  await guest.lifecycle.change(uuid, { metadata: { ...metadata, description } }, { signal });
}

/** A guest that is gone has nothing to restore. */
async function restore(deps: OperationDeps, made: Plan, call: Call): Promise<void> {
  const { guest } = deps.providers.get(made.hostId);
  if ((await readGuestIfAny(guest, made.uuid, call)) === undefined) return;
  const metadata = await metadataOf(deps, made.vmId, made.own);
  await guest.lifecycle.change(made.uuid, { metadata }, call);
  await guest.lifecycle.defineXml(unpackConfiguration(made.before), { metadata }, call);
}

function digestOf(xml: string): string {
  return createHash("sha256").update(xml).digest("hex");
}
