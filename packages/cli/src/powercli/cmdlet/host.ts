/** Get-VMHost and Set-VMHost. */
import type { Host } from "@innkeeper/contract/resource/host.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { hostRows } from "#page/host.ts";
import { CliError, tableError, usageError } from "#cli-error.ts";
import { listAll } from "#list.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import { hostKind, hostObject, hostState, hostStates } from "#powercli/object/host.ts";
import { hostIdsOf, placesOf } from "#powercli/place.ts";
import { hostParameter } from "#powercli/signature.ts";
import { datastoreOf } from "#powercli/storage.ts";

export const getVmHost: Cmdlet = {
  name: "Get-VMHost",
  summary: "List hosts.",
  operations: ["hostList"],
  parameters: [
    { name: "Name", list: true, position: 0, noun: "host", help: "only these; with wildcards" },
    { name: "Id", list: true, help: "only these, by id" },
    { name: "State", list: true, words: hostStates, help: "only those in one of these states" },
    { name: "VM", list: true, noun: "vm", help: "only those that have these VMs; `-` takes VMs from standard input" },
    { name: "Datastore", list: true, noun: "pool", help: "only those that reach these" },
    { name: "Tag", list: true, help: "only those with one of these tags" },
    { name: "Location", list: true, noun: "cluster", help: "only those of these clusters" },
    { name: "NoRecursion", type: "switch", help: "the same as without: nothing is below anything" },
  ],
  refused: {
    RelatedObject: "use -VM or -Datastore",
    ResourcePool: "there is one resource pool, of all hosts",
    DistributedSwitch: "list networks with `inn network list`",
  },
  examples: ["Get-VMHost", "Get-VMHost -Location production", "Get-VMHost -State Maintenance", "Get-VMHost -VM web"],
  run: async (run) => {
    for (const host of await hostRows(run.api, await wantedHosts(run))) run.write(hostKind, hostObject(host));
  },
};

async function wantedHosts(run: CmdletRun): Promise<readonly Host[]> {
  const { api, bound } = run;
  const references = bound.has("Location") ? await run.references("Location") : [];
  const places = await placesOf(api, references, "-Location", ["cluster"]);
  const inPlaces = places.length === 0 ? undefined : await hostIdsOf(api, places);
  const all = await run.listed("host");
  const withVms = bound.has("VM") ? new Set((await run.chosen("VM", "vm")).map(({ hostId }) => hostId)) : undefined;
  const datastores = await Promise.all(
    bound.texts("Datastore").map(async (text) => await datastoreOf(api, text, "-Datastore")),
  );
  const states = bound.texts("State");
  const tags = bound.texts("Tag");
  return all.filter(
    (host) =>
      (states.length === 0 || states.includes(hostState(host))) &&
      (tags.length === 0 || tags.some((tag) => host.tags.includes(tag))) &&
      inPlaces?.has(host.id) !== false &&
      (withVms === undefined || withVms.has(host.id)) &&
      (datastores.length === 0 || datastores.some(({ pools }) => pools.some(({ hostId }) => hostId === host.id))),
  );
}

export const setVmHost: Cmdlet = {
  name: "Set-VMHost",
  summary: "Put hosts into maintenance, moving their guests away if asked to, and back.",
  operations: ["hostChange", "vmMigrate"],
  impact: "changes",
  parameters: [
    hostParameter,
    {
      name: "State",
      position: 1,
      required: true,
      words: ["Connected", "Disconnected", "Maintenance"],
      help: "Maintenance: no new guest is placed here; Connected: back to normal",
    },
    {
      name: "Evacuate",
      type: "switch",
      help: "move its VMs away, each to the host with the most free memory that can take it",
    },
  ],
  refused: {
    RunAsync: "it is done at once; with -Evacuate the moves are tasks of their own",
    Reason: "describe the host: `inn host set --description`",
    LicenseKey: "there are no licenses",
    TimeZone: "set it on the host",
    Profile: "there are no host profiles",
    VMSwapfileDatastore: "swap is the host's own",
    VMSwapfilePolicy: "swap is the host's own",
    VsanDataMigrationMode: "there is no vSAN",
    KeyProvider: "encryption of disks is set up on the host",
    BaseImage: "hosts are updated with their own packages",
    Component: "hosts are updated with their own packages",
    DepotOverride: "hosts are updated with their own packages",
    FirmwareAddon: "hosts are updated with their own packages",
    RemovedComponent: "hosts are updated with their own packages",
    VendorAddOn: "hosts are updated with their own packages",
  },
  examples: ["Set-VMHost -VMHost kvm1 -State Maintenance -Evacuate", "Set-VMHost kvm1 -State Connected"],
  run: async (run) => {
    const { bound } = run;
    const state = bound.text("State");
    if (state === "Disconnected") {
      throw tableError("unsupported", "a host can't be disconnected and kept", {
        field: "-State",
        remedy: "Maintenance keeps new guests away; `inn host remove` forgets the host, its VMs run on.",
      });
    }
    if (bound.flag("Evacuate") === true && state !== "Maintenance") {
      throw usageError("-Evacuate goes with -State Maintenance");
    }
    for (const host of await run.chosen("VMHost", "host")) {
      await run.attempt(async () => await setState(run, host, state === "Maintenance"));
    }
  },
};

async function setState(run: CmdletRun, host: Host, maintenance: boolean): Promise<void> {
  const { api, bound } = run;
  const action = maintenance ? "Enter maintenance mode" : "Exit maintenance mode";
  if (!(await run.agreed(action, host.name))) return;
  const changed = await api.call("hostChange", { parameters: { hostId: host.id }, body: { maintenance } });
  if (maintenance) {
    if (bound.flag("Evacuate") === true) await evacuate(run, host);
    else await warnOfGuests(run, host);
  }
  for (const row of await hostRows(api, [changed])) run.write(hostKind, hostObject(row));
}

async function vmsOn({ api }: CmdletRun, host: Host): Promise<readonly Vm[]> {
  return (await listAll(api, "vmList", { filter: `hostId=${host.id}`, sort: "name" })).items;
}

async function warnOfGuests(run: CmdletRun, host: Host): Promise<void> {
  const running = (await vmsOn(run, host)).filter(isActive);
  if (running.length === 0) return;
  run.warn(`${running.length} guests still run on ${host.name}: -Evacuate, or Move-VM, moves them away.`);
}

/** One after the other, so that each choice sees what the one before it took. What can't be moved stays and is told. */
async function evacuate(run: CmdletRun, host: Host): Promise<void> {
  for (const vm of await vmsOn(run, host)) await run.attempt(async () => await moveAway(run, host, vm));
}

async function moveAway(run: CmdletRun, from: Host, vm: Vm): Promise<void> {
  const refusals: string[] = [];
  for (const host of await targets(run, from)) {
    try {
      const task = await run.api.call("vmMigrate", { parameters: { vmId: vm.id }, body: { host: host.id } });
      await run.finished(task);
      run.invocation.remark(`moved ${vm.name} to ${host.name}\n`);
      return;
    } catch (error) {
      if (!(error instanceof CliError) || error.detail.code === "cancelled") throw error;
      refusals.push(`${host.name}: ${error.message}`);
    }
  }
  const why =
    refusals.length === 0
      ? `there is no other host ${from.clusterId === undefined ? "" : "in its cluster "}that is connected`
      : refusals.join(" ");
  throw tableError("conflict", `${vm.name} stays on ${from.name}: ${why}`, {
    remedy: `${from.name} is in maintenance all the same. Mend what keeps the VM, then repeat the command.`,
  });
}

async function targets({ api }: CmdletRun, from: Host): Promise<readonly Host[]> {
  const { items } = await listAll(api, "hostList");
  return (
    items
      // A cluster's VMs stay in it, as with vSphere.
      .filter(({ clusterId }) => clusterId === from.clusterId)
      .filter((host) => host.id !== from.id && hostState(host) === "Connected")
      .toSorted((left, right) => (right.usage?.memoryFreeMiB ?? 0) - (left.usage?.memoryFreeMiB ?? 0))
  );
}
