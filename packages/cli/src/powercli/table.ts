/**
 * The cmdlets by name. A cmdlet's file is loaded only when the command line names it. `gone` are cmdlets that PowerCLI users
 * know and that mean nothing here yet, with what to do instead.
 */
import type { Cmdlet } from "#powercli/cmdlet.ts";

const vmGet = async () => await import("#powercli/cmdlet/vm-get.ts");
const vmSet = async () => await import("#powercli/cmdlet/vm-set.ts");
const power = async () => await import("#powercli/cmdlet/power.ts");
const snapshot = async () => await import("#powercli/cmdlet/snapshot.ts");
const host = async () => await import("#powercli/cmdlet/host.ts");
const cluster = async () => await import("#powercli/cmdlet/cluster.ts");
const disk = async () => await import("#powercli/cmdlet/hard-disk.ts");
const adapter = async () => await import("#powercli/cmdlet/network-adapter.ts");
const drive = async () => await import("#powercli/cmdlet/cd-drive.ts");
const task = async () => await import("#powercli/cmdlet/task.ts");
const session = async () => await import("#powercli/cmdlet/session.ts");

export const cmdlets: Readonly<Record<string, () => Promise<Cmdlet>>> = {
  "Get-VM": async () => (await vmGet()).getVm,
  "New-VM": async () => (await import("#powercli/cmdlet/vm-new.ts")).newVm,
  "Set-VM": async () => (await vmSet()).setVm,
  "Remove-VM": async () => (await vmSet()).removeVm,
  "Move-VM": async () => (await vmSet()).moveVm,
  "Start-VM": async () => (await power()).startVm,
  "Stop-VM": async () => (await power()).stopVm,
  "Restart-VM": async () => (await power()).restartVm,
  "Suspend-VM": async () => (await power()).suspendVm,
  "Stop-VMGuest": async () => (await power()).stopVmGuest,
  "Shutdown-VMGuest": async () => (await power()).shutdownVmGuest,
  "Restart-VMGuest": async () => (await power()).restartVmGuest,
  "Get-VMGuest": async () => (await import("#powercli/cmdlet/guest.ts")).getVmGuest,
  "Get-Template": async () => (await vmGet()).getTemplate,
  "Set-Template": async () => (await vmSet()).setTemplate,
  "New-Snapshot": async () => (await snapshot()).newSnapshot,
  "Get-Snapshot": async () => (await snapshot()).getSnapshot,
  "Remove-Snapshot": async () => (await snapshot()).removeSnapshot,
  "Get-VMHost": async () => (await host()).getVmHost,
  "Set-VMHost": async () => (await host()).setVmHost,
  "Move-VMHost": async () => (await cluster()).moveVmHost,
  "Get-Cluster": async () => (await cluster()).getCluster,
  "New-Cluster": async () => (await cluster()).newCluster,
  "Remove-Cluster": async () => (await cluster()).removeCluster,
  "Get-Datastore": async () => (await import("#powercli/cmdlet/datastore.ts")).getDatastore,
  "Get-HardDisk": async () => (await disk()).getHardDisk,
  "New-HardDisk": async () => (await disk()).newHardDisk,
  "Set-HardDisk": async () => (await disk()).setHardDisk,
  "Remove-HardDisk": async () => (await disk()).removeHardDisk,
  "Get-NetworkAdapter": async () => (await adapter()).getNetworkAdapter,
  "New-NetworkAdapter": async () => (await adapter()).newNetworkAdapter,
  "Set-NetworkAdapter": async () => (await adapter()).setNetworkAdapter,
  "Remove-NetworkAdapter": async () => (await adapter()).removeNetworkAdapter,
  "Get-CDDrive": async () => (await drive()).getCdDrive,
  "Set-CDDrive": async () => (await drive()).setCdDrive,
  "Get-Stat": async () => (await import("#powercli/cmdlet/stat.ts")).getStat,
  "Get-Task": async () => (await task()).getTask,
  "Wait-Task": async () => (await task()).waitTask,
  "Stop-Task": async () => (await task()).stopTask,
  "Get-VIEvent": async () => (await import("#powercli/cmdlet/event.ts")).getViEvent,
  "Connect-VIServer": async () => (await session()).connectViServer,
  "Disconnect-VIServer": async () => (await session()).disconnectViServer,
};

export const cmdletNames: readonly string[] = Object.keys(cmdlets);

const noPools = "Innkeeper has no resource pools and datacenters yet; a cluster is one pool, and so are all hosts.";

/** By their noun, or their whole name. */
const absent: Readonly<Record<string, string>> = {
  "Set-Cluster": "inn cluster set changes a cluster's name and description; it has no DRS and no HA yet.",
  ResourcePool: noPools,
  Folder: "A folder is a path on a VM: inn vm set VM --folder Production/Web.",
  Datacenter: noPools,
  DrsRule: "Clusters have no DRS yet.",
  VApp: "There are no vApps.",
  "New-Datastore": "Make a storage pool: inn pool create.",
  "Remove-Datastore": "Forget a storage pool: inn pool delete.",
  "Add-VMHost": "inn host add URI --cluster CLUSTER adds a host.",
  "Remove-VMHost": "inn host remove forgets a host.",
  "Revert-Snapshot": "inn Set-VM -VM … -Snapshot … brings a VM back to a snapshot.",
  "Restore-VMSnapshot": "inn Set-VM -VM … -Snapshot … brings a VM back to a snapshot.",
  "Set-Snapshot": "A snapshot keeps its name and description.",
  "New-Template": "Make a VM a template: inn Set-VM -VM … -ToTemplate.",
  "Remove-Template": "inn Remove-VM -VM … removes a template, too.",
  "Suspend-VMGuest": "inn Suspend-VM pauses a VM.",
  "Invoke-VMScript": "Use ssh, or the guest's console: inn vm console.",
  "Copy-VMGuestFile": "Use scp.",
  "Get-VirtualSwitch": "inn network list lists networks.",
  "Get-VirtualPortGroup": "inn network list lists networks.",
  "Get-VirtualNetwork": "inn network list lists networks.",
  "Open-VMConsoleWindow": "inn vm console opens the serial console; the web console shows the screen.",
  "Get-View": "inn system openapi prints the API.",
};

// The verbs of PowerCLI's cmdlets (VMware.VimAutomation.Core): what looks like one is meant as one.
const verbs =
  /^(add|connect|copy|disconnect|export|get|import|install|invoke|mount|move|new|open|remove|restart|restore|revert|set|shutdown|start|stop|suspend|test|update|wait)-[a-z]{2,}$/i;

/** The cmdlet's name as PowerCLI spells it; undefined: it is none of ours. */
export function cmdletNamed(word: string): string | undefined {
  return cmdletNames.find((name) => name.toLowerCase() === word.toLowerCase());
}

/** Where the cmdlet stands on a command line, after options of inn itself; below 0: it is none. */
export function cmdletAt(argv: readonly string[]): number {
  let index = 0;
  while (index < argv.length && (argv[index] ?? "").startsWith("-")) {
    index += /^(-o|-s|--output|--server)$/.test(argv[index] ?? "") ? 2 : 1;
  }
  return verbs.test(argv[index] ?? "") ? index : -1;
}

/** What to do instead of a cmdlet that there is not. */
export function insteadOf(word: string): string | undefined {
  const [, noun = ""] = word.split("-");
  const entry = Object.entries(absent).find(([name]) =>
    [word, noun].some((each) => each.toLowerCase() === name.toLowerCase()),
  );
  return entry?.[1];
}
