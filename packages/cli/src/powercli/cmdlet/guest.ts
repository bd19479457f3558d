/** Get-VMGuest: what is known of guests; with the guest agent more than addresses. */
import { vmCan } from "@innkeeper/contract/state/vm.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import { vmParameter } from "#powercli/signature.ts";
import { guestKind, guestObject } from "#powercli/object/guest.ts";

export const getVmGuest: Cmdlet = {
  name: "Get-VMGuest",
  summary: "Show guests: addresses, system, host name, file systems.",
  operations: ["vmGuest"],
  parameters: [vmParameter],
  refused: { RelatedObject: "name the VM with -VM" },
  examples: ["Get-VMGuest -VM web", "Get-VM | inn Get-VMGuest -o wide"],
  run: async (run) => {
    for (const vm of await run.chosen("VM", "vm")) {
      await run.attempt(async () => {
        const asks = vm.guestAgentConnected && vmCan.guest(vm);
        const guest = asks ? await run.api.call("vmGuest", { parameters: { vmId: vm.id } }) : undefined;
        run.write(guestKind, guestObject(vm, guest));
      });
    }
  },
};
