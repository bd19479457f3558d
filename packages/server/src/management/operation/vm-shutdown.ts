/**
 * Asks the guest to shut down and waits until it has. The guest is asked again now and then: one that was still booting
 * did not hear. A guest that ignores it goes on running, and the task says so.
 */
import { Type } from "typebox";
import { VmPowerOff } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { formatDurationMs } from "@innkeeper/contract/unit.ts";
import { AppError } from "#core/app-error.ts";
import { operation } from "#management/task/operation.ts";
import { readGuestIfAny } from "#management/vm/guest-read.ts";
import { requireState, vmClaim, vmTarget } from "#management/vm/lookup.ts";
import { syncGuest } from "#management/vm/sync.ts";
import type { OperationDeps } from "./deps.ts";

/** Three minutes: what vSphere's administrators are used to wait before they power a guest off. */
const defaultTimeoutMs = 180_000;
const pollMs = 250;
const askAgainMs = 30_000;

interface Asked {
  readonly hostId: string;
  readonly uuid: string;
  readonly durationMs: number;
}

export function vmShutdown(deps: OperationDeps) {
  return operation({
    name: "vm.shutdown",
    input: Type.Object({ vmId: Type.String(), request: Type.Optional(VmPowerOff) }),
    check({ vmId }) {
      const vm = deps.inventory.require("vm", vmId, { field: "vmId" });
      requireState(vm, "shutdown", "shut down");
      deps.providers.get(vm.hostId);
    },
    claims: ({ vmId }) => ({ exclusive: [vmClaim(deps.inventory, vmId)] }),
    target: ({ vmId }) => vmTarget(deps.inventory, vmId),
    steps: [
      {
        name: "shutdown",
        async do({ input, signal, progress }) {
          const vm = deps.inventory.require("vm", input.vmId, { field: "vmId" });
          const { guest } = deps.providers.get(vm.hostId);
          const timeoutMs = input.request?.timeoutMs ?? defaultTimeoutMs;
          const beganMs = deps.clock.monotonicMs();
          let askedMs = -Infinity;
          for (;;) {
            const now = await readGuestIfAny(guest, vm.uuid, { signal });
            if (now === undefined || !isActive(now)) break;
            const elapsedMs = deps.clock.monotonicMs() - beganMs;
            if (elapsedMs > timeoutMs) throw ignored(vm.name, timeoutMs);
            if (elapsedMs - askedMs > askAgainMs) {
              await guest.lifecycle.shutdown(vm.uuid, { signal });
              askedMs = elapsedMs;
            }
            progress(
              { done: Math.min(100, Math.round((elapsedMs / timeoutMs) * 100)), total: 100, unit: "percent" },
              "waiting for the guest to shut down",
            );
            await deps.clock.sleep(pollMs, signal);
          }
          const durationMs = Math.round(deps.clock.monotonicMs() - beganMs);
          return { hostId: vm.hostId, uuid: vm.uuid, durationMs };
        },
      },
      {
        name: "sync",
        do: (context) => syncGuest(deps, context, context.result<Asked>("shutdown")),
      },
    ],
    outcome: ({ result }) => ({ durationMs: result<Asked>("shutdown").durationMs }),
  });
}

function ignored(name: string, timeoutMs: number): AppError {
  return new AppError(
    "timeout",
    `The guest of VM ${name} was asked to shut down and has not within ${formatDurationMs(timeoutMs)}; it still runs.`,
    {
      remedy: "Look at its console; wait longer (timeoutMs); or cut its power with vm force-off.",
      // The whole time was given: after a crash the wait is not begun again and again.
      retryable: false,
    },
  );
}
