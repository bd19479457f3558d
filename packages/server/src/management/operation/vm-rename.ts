/** Renames a stopped VM. Its volumes keep their names: paths in snapshots, clones and backups go on being true. */
import { Type } from "typebox";
import { checkName } from "@innkeeper/contract/name.ts";
import { VmRename } from "@innkeeper/contract/resource/vm.ts";
import { operation } from "#management/task/operation.ts";
import { refuse } from "#management/vm/field-check.ts";
import { unlessGone } from "#management/vm/guest-read.ts";
import { refuseSavedMemory } from "#management/vm/guest-read.ts";
import {
  nameClaim,
  requireNameFree,
  requirePersistent,
  requireState,
  vmClaim,
  vmTarget,
} from "#management/vm/lookup.ts";
import { syncGuest } from "#management/vm/sync.ts";
import type { OperationDeps } from "./deps.ts";

interface Plan {
  readonly hostId: string;
  readonly uuid: string;
  readonly oldName: string;
}

export function vmRename(deps: OperationDeps) {
  function plan(vmId: string, name: string): Plan {
    const vm = deps.inventory.require("vm", vmId, { field: "vmId" });
    const wrong = checkName(name);
    if (wrong !== undefined) refuse("name", `The name ${wrong}.`);
    requireState(vm, "rename", "renamed");
    requirePersistent(vm, "renamed");
    requireNameFree(deps.inventory, name, "name", vm.id);
    return { hostId: vm.hostId, uuid: vm.uuid, oldName: vm.name };
  }

  /** Renaming to the name that it has is fine: a crash makes it happen twice. */
  async function rename({ hostId, uuid }: Plan, name: string, signal: AbortSignal): Promise<void> {
    const { guest } = deps.providers.get(hostId);
    const now = await guest.inventory.read(uuid, { signal });
    if (now.name === name) return;
    refuseSavedMemory(now, "be renamed");
    await guest.lifecycle.rename(uuid, name, { signal });
  }

  return operation({
    name: "vm.rename",
    input: Type.Object({ vmId: Type.String(), request: VmRename }),
    check({ vmId, request }) {
      deps.providers.get(plan(vmId, request.name).hostId);
    },
    claims: ({ vmId, request }) => ({ exclusive: [vmClaim(deps.inventory, vmId), nameClaim(request.name)] }),
    target: ({ vmId }) => vmTarget(deps.inventory, vmId),
    steps: [
      {
        name: "plan",
        async do({ input: { vmId, request }, signal }) {
          const made = plan(vmId, request.name);
          const { guest } = deps.providers.get(made.hostId);
          const xml = await guest.inventory.xml(made.uuid, { inactive: true }, { signal });
          await guest.lifecycle.check({ xml, name: request.name, uuid: made.uuid }, { signal });
          return { ...made };
        },
      },
      {
        name: "rename",
        do: ({ input, result, signal }) => rename(result<Plan>("plan"), input.request.name, signal),
        async undo(context) {
          const before = context.resultIfAny<Plan>("plan");
          if (before === undefined) return;
          await rename(before, before.oldName, context.signal).catch(unlessGone);
          await syncGuest(deps, context, before);
        },
      },
      { name: "sync", do: (context) => syncGuest(deps, context, context.result<Plan>("plan")) },
    ],
    outcome: ({ input, result }) => ({ oldName: result<Plan>("plan").oldName, name: input.request.name }),
  });
}
