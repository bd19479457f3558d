/**
 * Creates a VM. The first step chooses host, ids, MACs and volume names and stores them; everything made afterwards
 * carries them, so that it is found again after a crash, and finished or removed.
 */
import { Type } from "typebox";
import { newId, type VmId } from "@innkeeper/contract/id.ts";
import { VmCreate } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { Call } from "#core/call.ts";
import { timestamp } from "#core/clock.ts";
import { operation, type Step, type StepContext } from "#management/task/operation.ts";
import { planClaimed } from "#management/task/claimed-plan.ts";
import { diskClaims } from "#management/vm/disk-claim.ts";
import { definitionWitness, isKeptDefinition, leftToOthers } from "#management/vm/definition-guard.ts";
import { volumesOf } from "#management/vm/disk-progress.ts";
import { refuse } from "#management/vm/field-check.ts";
import { disksStep, madeDisks } from "#management/vm/disk-step.ts";
import { readGuestIfAny, removeOwnGuest } from "#management/vm/guest-read.ts";
import { nameClaim, uuidClaim } from "#management/vm/lookup.ts";
import { syncGuest } from "#management/vm/sync.ts";
import { planVm, type VmPlan } from "#management/vm/vm-plan.ts";
import { requireFreeNames } from "#management/vm/disk-make.ts";
import { firstDefinition, lastDefinition, plannedDefinitions } from "#management/vm/vm-definition.ts";
import type { GuestHypervisor } from "#virtualization/port.ts";
import type { OperationDeps } from "./deps.ts";

interface Plan extends VmPlan {
  readonly hostId: string;
  readonly createdAt: string;
}
type Input = { request: VmCreate };

export function vmCreate(deps: OperationDeps) {
  return operation({
    name: "vm.create",
    input: Type.Object({ request: VmCreate }),
    check({ request }) {
      planVm(deps.inventory, request);
    },
    claims({ request }) {
      const host = request.host === undefined ? undefined : deps.inventory.require("host", request.host).id;
      const { exclusive, shared } = diskClaims(deps.inventory, host, request.disks ?? []);
      const identity = [nameClaim(request.name), ...(request.uuid === undefined ? [] : [uuidClaim(request.uuid)])];
      return { exclusive: [...identity, ...exclusive], shared };
    },
    target: ({ request }) => ({ kind: "vm", id: newId("vm"), name: request.name }),
    steps: [
      planStep(deps),
      disksStep(deps),
      defineStep(deps),
      {
        name: "start",
        isNeedless: ({ input }) => input.request.start !== true,
        do: (context) => start(deps, context),
      },
      {
        name: "settle",
        isNeedless: ({ input }) => input.request.installXml === undefined,
        do: (context) => settle(deps, context),
      },
      {
        name: "sync",
        async do(context) {
          const plan = context.result<Plan>("plan");
          await syncGuest(deps, context, guestOf(plan), volumesOf(plan.disks));
        },
      },
    ],
    outcome({ result, resultIfAny }) {
      const { vm, placement } = result<Plan>("plan");
      return { vmId: vm.id, name: vm.name, placement, ...resultIfAny<{ remark?: string }>("settle") };
    },
  });
}

function planStep(deps: OperationDeps): Step<Input> {
  return {
    name: "plan",
    async do(context) {
      const { input, target, signal } = context;
      const planned = await planClaimed(
        deps.inventory,
        context,
        () => planVm(deps.inventory, input.request, target?.id as VmId),
        ({ placement, disks }) => ({ hostId: placement.hostId, volumes: volumesOf(disks) }),
      );
      const plan: Plan = { ...planned, hostId: planned.placement.hostId, createdAt: timestamp(deps.clock) };
      const { guest } = deps.providers.get(plan.hostId);
      if (input.request.uuid !== undefined) await requireFreeUuid(guest, input.request.uuid, { signal });
      for (const definition of plannedDefinitions(deps.inventory, plan, input.request)) {
        await guest.lifecycle.check(definition, { signal });
      }
      await requireFreeNames(deps, plan.hostId, plan.disks, { signal });
      return { ...plan };
    },
  };
}

function defineStep(deps: OperationDeps): Step<Input> {
  return {
    name: "define",
    async do(context) {
      const plan = context.result<Plan>("plan");
      const { guest } = deps.providers.get(plan.hostId);
      const first = firstDefinition(plan, context.input.request, madeDisks(context));
      const call = { signal: context.signal };
      await guest.lifecycle.define(first, call);
      if (context.input.request.installXml === undefined) return;
      await definitionWitness(context).defined(await guest.inventory.xml(plan.vm.uuid, { inactive: true }, call));
    },
    async undo(context) {
      const plan = context.resultIfAny<Plan>("plan");
      if (plan === undefined) return;
      const { guest } = deps.providers.get(plan.hostId);
      await removeOwnGuest(guest, plan.vm, { signal: context.signal });
      await syncGuest(deps, context, guestOf(plan));
    },
  };
}

/** virsh may have defined a domain since the inventory was read. */
async function requireFreeUuid(guest: GuestHypervisor, uuid: string, call: Call): Promise<void> {
  const owner = await readGuestIfAny(guest, uuid, call);
  if (owner !== undefined) refuse("uuid", `UUID ${uuid} is VM ${owner.name}'s.`, "conflict");
}

async function start(deps: OperationDeps, context: StepContext<Input>): Promise<void> {
  const plan = context.result<Plan>("plan");
  const { guest } = deps.providers.get(plan.hostId);
  const call = { signal: context.signal };
  if (!isActive(await guest.inventory.read(plan.vm.uuid, call))) await guest.lifecycle.start(plan.vm.uuid, {}, call);
}

/** From the definition of the first start to the one that stays, unless someone changed the first by hand. */
async function settle(deps: OperationDeps, context: StepContext<Input>): Promise<{ remark?: string }> {
  const plan = context.result<Plan>("plan");
  const { guest } = deps.providers.get(plan.hostId);
  const call = { signal: context.signal };
  if (isKeptDefinition(context, await guest.inventory.xml(plan.vm.uuid, { inactive: true }, call))) {
    await guest.lifecycle.define(lastDefinition(plan, context.input.request, madeDisks(context)), call);
    return {};
  }
  // An attempt that was interrupted may have written it.
  return context.repeated ? {} : { remark: `${leftToOthers} Its next start is again the installer's.` };
}

function guestOf(plan: Plan): { hostId: string; uuid: string } {
  return { hostId: plan.hostId, uuid: plan.vm.uuid };
}
