/**
 * What the operations that only change a VM's power have in common: the VM exists, its state allows it, one step does
 * it, and what the host then reports is brought onto the read path. The step can't be undone (a guest that was reset
 * was reset), so it is a point of no return; it is idempotent, or harmless when a crash makes it run twice.
 */
import { Type } from "typebox";
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { VmAction } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { type Operation, operation } from "#management/task/operation.ts";
import type { GuestHypervisor } from "#virtualization/port.ts";
import { requireNotTemplate, requireState, vmClaim, vmTarget } from "./lookup.ts";
import { syncGuest } from "./sync.ts";

const VmInput = Type.Object({ vmId: Type.String() });

export interface PowerVerb {
  readonly name: `vm.${string}`;
  readonly action: VmAction;
  /** Completes "can't be …". */
  readonly verb: string;
  /** A template must not run. */
  readonly notTemplate?: boolean;
  act(guest: GuestHypervisor, vm: Vm, call: Call): Promise<void>;
}

/** What a host said no to was not done; what it didn't answer may have been. */
const refusals: readonly ErrorCode[] = [
  "invalid_state",
  "invalid_field",
  "not_found",
  "name_taken",
  "unsupported",
  "host_failed",
  "conflict",
  "insufficient_resources",
  "disk_full",
];

function refusal(error: unknown): unknown {
  if (!(error instanceof AppError) || !refusals.includes(error.code)) return error;
  const { code, message, field, remedy, fault, retryable } = error;
  const detail = { ...(field !== undefined && { field }), ...(remedy !== undefined && { remedy }) };
  return new AppError(code, message, {
    ...detail,
    ...(fault && { fault }),
    retryable,
    cause: error,
    nothingDone: true,
  });
}

export function powerOperation(deps: OperationDeps, power: PowerVerb): Operation<typeof VmInput> {
  return operation({
    name: power.name,
    input: VmInput,
    check({ vmId }) {
      const vm = deps.inventory.require("vm", vmId, { field: "vmId" });
      if (power.notTemplate === true) requireNotTemplate(vm, power.verb);
      requireState(vm, power.action, power.verb);
      deps.providers.get(vm.hostId);
    },
    claims: ({ vmId }) => ({ exclusive: [vmClaim(deps.inventory, vmId)] }),
    target: ({ vmId }) => vmTarget(deps.inventory, vmId),
    steps: [
      {
        name: "act",
        pointOfNoReturn: true,
        // What was asked for must not happen by surprise, when the host is back after long.
        isBrief: true,
        async do(context) {
          const vm = deps.inventory.require("vm", context.input.vmId, { field: "vmId" });
          const { hostId, uuid } = vm;
          try {
            await power.act(deps.providers.get(hostId).guest, vm, { signal: context.signal });
          } catch (error) {
            // While it failed the guest may have been seen in a state between: one that can't start is paused for a moment.
            await syncGuest(deps, context, { hostId, uuid });
            throw context.repeated ? error : refusal(error);
          }
          return { hostId, uuid };
        },
      },
      {
        name: "sync",
        do: (context) => syncGuest(deps, context, context.result<{ hostId: string; uuid: string }>("act")),
      },
    ],
  });
}
