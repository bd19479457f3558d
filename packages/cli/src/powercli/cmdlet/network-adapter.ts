/** Get-, New-, Set- and Remove-NetworkAdapter. */
import type { Vm, VmChange } from "@innkeeper/contract/resource/vm.ts";
import type { VmNic } from "@innkeeper/contract/resource/vm-spec.ts";
import { usageError } from "#cli-error.ts";
import { given } from "#option/given.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import { type Parameter, runAsync, vmParameter } from "#powercli/signature.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import { warnOfPending } from "#powercli/cmdlet/vm-show.ts";
import { devices, type DeviceWish } from "#powercli/device.ts";
import {
  networkAdapterKind,
  networkAdapterObject,
  networkAdapters,
  type NumberedDevice,
} from "#powercli/object/device.ts";
import { Wildcard } from "#powercli/wildcard.ts";

const wish: DeviceWish<VmNic> = {
  parameter: "NetworkAdapter",
  noun: "network adapter",
  of: networkAdapters,
  key: ({ mac }) => mac,
};

/** PowerCLI's VirtualNetworkAdapterType as QEMU has it; paravirtual is virtio here. */
const modelOf = {
  Vmxnet3: "virtio",
  Virtio: "virtio",
  e1000: "e1000",
  e1000e: "e1000e",
  rtl8139: "rtl8139",
} as const;
const types = Object.keys(modelOf) as (keyof typeof modelOf)[];

const noSwitches = {
  Portgroup: "say the network: -NetworkName",
  DistributedSwitch: "say the network: -NetworkName",
  PortId: "say the network: -NetworkName",
  WakeOnLan: "guests are started with Start-VM",
};

function show(run: CmdletRun, vm: Vm, adapters: readonly NumberedDevice<VmNic>[]): void {
  for (const adapter of adapters) run.write(networkAdapterKind, networkAdapterObject(vm, adapter));
}

/** Those of a VM's adapters that are meant, as they are now. */
async function showNow(run: CmdletRun, { id }: Vm, isMeant: (mac: string) => boolean): Promise<void> {
  const vm = await run.api.call("vmGet", { parameters: { vmId: id } });
  show(
    run,
    vm,
    networkAdapters(vm).filter(({ device }) => isMeant(device.mac)),
  );
}

/** A change for each adapter that was named. */
async function changeEach(
  run: CmdletRun,
  action: string,
  bodyOf: (mac: string) => VmChange,
  isShown: boolean,
): Promise<void> {
  const adapters = await devices(run, wish);
  await run.perform(
    adapters.map(({ vm, name, device: { mac } }) => ({
      action,
      target: `${vm.name}/${name}`,
      start: async () => await run.api.call("vmChange", { parameters: { vmId: vm.id }, body: bodyOf(mac) }),
      done: async (task) => {
        warnOfPending(run, vm, task);
        if (isShown) await showNow(run, vm, (each) => each === mac);
      },
    })),
  );
}

const adapterParameter: Parameter = {
  ...vmParameter,
  name: "NetworkAdapter",
  noun: undefined,
  help: "VM/Network adapter 1, VM/MAC, or what Get-NetworkAdapter prints",
};

export const getNetworkAdapter: Cmdlet = {
  name: "Get-NetworkAdapter",
  summary: "List the network adapters of VMs.",
  operations: ["vmList"],
  parameters: [vmParameter, { name: "Name", list: true, help: 'only these: "Network adapter 1"; with wildcards' }],
  refused: { Template: "name the template with -VM", Snapshot: "a snapshot has no adapters of its own" },
  examples: ["Get-NetworkAdapter -VM web", "Get-VM | inn Get-NetworkAdapter -o wide"],
  run: async (run) => {
    const names = run.bound.texts("Name").map((text) => new Wildcard(text));
    for (const vm of await run.chosen("VM", "vm")) {
      show(
        run,
        vm,
        networkAdapters(vm).filter(({ name }) => names.length === 0 || names.some((each) => each.matches(name))),
      );
    }
  },
};

export const newNetworkAdapter: Cmdlet = {
  name: "New-NetworkAdapter",
  summary: "Give VMs another network adapter, live if they run.",
  operations: ["vmChange"],
  impact: "changes",
  parameters: [
    vmParameter,
    { name: "NetworkName", required: true, noun: "network", help: "the network" },
    { name: "Type", words: types, help: "Vmxnet3 (virtio here, default), e1000, e1000e, rtl8139" },
    { name: "MacAddress", help: "52:54:00:…; default: one that is free" },
    { name: "StartConnected", type: "switch", help: "with its link up, as without; -StartConnected:false: down" },
  ],
  refused: noSwitches,
  examples: ["New-NetworkAdapter -VM web -NetworkName default -Type Vmxnet3 -StartConnected"],
  parameterOfField: { "nicsAdd.mac": "MacAddress", "nicsAdd.model": "Type", nicsAdd: "NetworkName" },
  run: async (run) => {
    const { api, bound } = run;
    const type = types.find((each) => each === bound.text("Type"));
    const nic = given({
      network: bound.text("NetworkName"),
      model: type === undefined ? undefined : modelOf[type],
      mac: bound.text("MacAddress"),
      linkUp: bound.flag("StartConnected"),
    });
    const vms = await run.chosen("VM", "vm");
    await run.perform(
      vms.map((vm) => ({
        action: "Add network adapter",
        target: vm.name,
        start: async () => await api.call("vmChange", { parameters: { vmId: vm.id }, body: { nicsAdd: [nic] } }),
        done: async (task) => {
          warnOfPending(run, vm, task);
          const before = new Set(vm.spec.nics.map(({ mac }) => mac));
          await showNow(run, vm, (mac) => !before.has(mac));
        },
      })),
    );
  },
};

export const setNetworkAdapter: Cmdlet = {
  name: "Set-NetworkAdapter",
  summary: "Put network adapters into another network, plug them in or out.",
  operations: ["vmChange"],
  impact: "asks",
  parameters: [
    adapterParameter,
    { name: "NetworkName", noun: "network", help: "the network" },
    { name: "Connected", type: "boolean", help: "$true: link up, $false: down; also from its next start on" },
    { name: "StartConnected", type: "boolean", help: "the same" },
    runAsync,
  ],
  refused: {
    ...noSwitches,
    Type: "remove the adapter and add another",
    MacAddress: "remove the adapter and add another",
  },
  examples: [
    "Get-NetworkAdapter -VM web | inn Set-NetworkAdapter -NetworkName lan -Confirm:$false",
    "Set-NetworkAdapter 'web/Network adapter 1' -Connected:false -Confirm:$false",
  ],
  parameterOfField: { "nicsChange.network": "NetworkName", nicsChange: "NetworkAdapter" },
  run: async (run) => {
    const { bound } = run;
    const connected = bound.flag("Connected");
    const startConnected = bound.flag("StartConnected");
    if (connected !== undefined && startConnected !== undefined && connected !== startConnected) {
      throw usageError(
        "-Connected and -StartConnected differ",
        "A link is up or down now and at the next start alike.",
      );
    }
    const change = given({ network: bound.text("NetworkName"), linkUp: connected ?? startConnected });
    if (Object.keys(change).length === 0) throw usageError("nothing to change", "See `inn Set-NetworkAdapter -?`.");
    await changeEach(run, "Set network adapter", (mac) => ({ nicsChange: [{ mac, ...change }] }), true);
  },
};

export const removeNetworkAdapter: Cmdlet = {
  name: "Remove-NetworkAdapter",
  summary: "Take network adapters away from their VM.",
  operations: ["vmChange"],
  impact: "asks",
  parameters: [adapterParameter],
  examples: ["Remove-NetworkAdapter 'web/Network adapter 2' -Confirm:$false"],
  parameterOfField: { nicsRemove: "NetworkAdapter" },
  run: async (run) => {
    await changeEach(run, "Remove network adapter", (mac) => ({ nicsRemove: [{ mac }] }), false);
  },
};
