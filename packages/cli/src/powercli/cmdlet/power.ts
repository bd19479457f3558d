/** Start-VM, Stop-VM and the like. As in PowerCLI, -VM verbs act on the power, -VMGuest verbs ask the guest. */
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { OperationId } from "@innkeeper/contract/endpoint/table.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import { runAsync, vmParameter } from "#powercli/signature.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import { showVm } from "#powercli/cmdlet/vm-show.ts";

type PowerOperation = Extract<
  OperationId,
  "vmStart" | "vmResume" | "vmForceOff" | "vmReset" | "vmSuspend" | "vmShutdown" | "vmReboot"
>;

async function power(run: CmdletRun, action: string, operationOf: (vm: Vm) => PowerOperation): Promise<void> {
  const vms = await run.chosen("VM", "vm");
  await run.perform(
    vms.map((vm) => ({
      action,
      target: vm.name,
      start: async () => {
        const operation = operationOf(vm);
        const parameters = { vmId: vm.id };
        return operation === "vmShutdown"
          ? await run.api.call(operation, { parameters, body: {} })
          : await run.api.call(operation, { parameters });
      },
      done: async () => await showVm(run, vm.id),
    })),
  );
}

export const startVm: Cmdlet = {
  name: "Start-VM",
  summary: "Power VMs on; suspended ones go on.",
  operations: ["vmStart", "vmResume"],
  impact: "changes",
  parameters: [vmParameter, runAsync],
  examples: ["Start-VM -VM web", "Get-VM web* | inn Start-VM -RunAsync"],
  run: async (run) => await power(run, "Power on VM", (vm) => (vm.state === "paused" ? "vmResume" : "vmStart")),
};

export const stopVm: Cmdlet = {
  name: "Stop-VM",
  summary: "Cut VMs' power. Stop-VMGuest asks the guest to shut down.",
  operations: ["vmForceOff"],
  impact: "asks",
  parameters: [
    vmParameter,
    { name: "Kill", type: "switch", help: "the same as without: QEMU is ended, by force if need be" },
    runAsync,
  ],
  examples: ["Stop-VM -VM web -Confirm:$false"],
  run: async (run) => await power(run, "Power off VM", () => "vmForceOff"),
};

export const restartVm: Cmdlet = {
  name: "Restart-VM",
  summary: "Press VMs' reset button. Restart-VMGuest asks the guest to reboot.",
  operations: ["vmReset"],
  impact: "asks",
  parameters: [vmParameter, runAsync],
  examples: ["Restart-VM -VM web -Confirm:$false"],
  run: async (run) => await power(run, "Reset VM", () => "vmReset"),
};

export const suspendVm: Cmdlet = {
  name: "Suspend-VM",
  summary: "Pause VMs; unlike vSphere's, their memory stays in the host's. Start-VM lets them go on.",
  operations: ["vmSuspend"],
  impact: "asks",
  parameters: [vmParameter, runAsync],
  examples: ["Suspend-VM -VM web -Confirm:$false"],
  run: async (run) => await power(run, "Suspend VM", () => "vmSuspend"),
};

export const stopVmGuest: Cmdlet = {
  name: "Stop-VMGuest",
  summary: "Ask guests to shut down, and wait until they have (also Shutdown-VMGuest).",
  operations: ["vmShutdown"],
  impact: "asks",
  parameters: [vmParameter, runAsync],
  refused: { Guest: "name the VM with -VM" },
  examples: ["Stop-VMGuest -VM web -Confirm:$false"],
  run: async (run) => await power(run, "Shut down guest", () => "vmShutdown"),
};

export const shutdownVmGuest: Cmdlet = { ...stopVmGuest, name: "Shutdown-VMGuest", examples: ["Shutdown-VMGuest web"] };

export const restartVmGuest: Cmdlet = {
  name: "Restart-VMGuest",
  summary: "Ask guests to reboot.",
  operations: ["vmReboot"],
  impact: "asks",
  parameters: [vmParameter, runAsync],
  refused: { Guest: "name the VM with -VM" },
  examples: ["Restart-VMGuest -VM web -Confirm:$false"],
  run: async (run) => await power(run, "Restart guest", () => "vmReboot"),
};
