/** `inn vm set`: changes of a VM, live where the hypervisor can; what waits for the next start is said. */
import type { Command } from "commander";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { VmChange } from "@innkeeper/contract/resource/vm.ts";
import { usageError, valueError } from "#cli-error.ts";
import { volumeId } from "#command/vm-create.ts";
import type { Invocation } from "#invocation.ts";
import { find } from "#lookup.ts";
import { diskChangeOf, diskHelp, diskOf, nicHelp, nicOf } from "#option/device.ts";
import { anyOf, given } from "#option/given.ts";
import { Pairs } from "#option/pairs.ts";
import { cpuChangeOf, hardwareOf, hardwareOptions, memoryOf, vmFieldOption } from "#option/vm.ts";
import { followTask } from "#task.ts";
import { addVerb, collect, revisionOption, type Surroundings, taskOptions } from "#verb.ts";

export function addSet(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "set <vm>",
    summary: "Change a VM, live where possible.",
    operations: ["vmChange"],
    options: (command) =>
      taskOptions(
        hardwareOptions(
          revisionOption(command)
            .option("--add-disk <disk>", "a new disk, see below; may be repeated", collect)
            .option("--unpin", "take all pins to CPUs of the host away: the vCPUs' and QEMU's own")
            .option("--normal-cpu-shares", "take the weight against other VMs away, at the next start")
            .option("--remove-disk <target>", "take a disk away: vdb; its volume stays, unless vdb,delete", collect)
            .option("--change-disk <change>", "vda,size=40G  vda,iops=500  sda,path=/x.iso  sda,eject", collect)
            .option("--add-nic <network>", "a new network card, see below; may be repeated", collect)
            .option("--remove-nic <mac>", "take a network card away", collect)
            .option("--change-nic <change>", "52:54:…,link=down  52:54:…,network=lan", collect)
            .option("--description <text>")
            .option("--tag <tag>", "the new tags, instead of all before; may be repeated", collect)
            .option("--folder <path>", "the folder that it is shown in: Production/Web")
            .option("--no-folder", "in none")
            .option("--template", "make it a template")
            .option("--no-template"),
        ),
      ),
    details: `${diskHelp}\n\n${nicHelp}`,
    examples: [
      "vm set web --vcpus 4 --memory 8G",
      "vm set web --balloon 2G",
      "vm set web --folder Production/Web",
      "vm set web --pin 0=1-2 --pin 1=3",
      "vm set web --add-disk 100G,pool=fast --remove-disk vdc",
    ],
    run: set,
    fieldOption: vmFieldOption,
  });
}

async function set(invocation: Invocation, name: string): Promise<void> {
  const { options, api } = invocation;
  const added: NonNullable<VmChange["disksAdd"]> = [];
  for (const text of options.texts("addDisk")) {
    added.push(await diskOf("--add-disk", text, async (volume) => await volumeId(invocation, volume)));
  }
  const body: VmChange = {
    ...hardwareOf(options),
    ...given({
      description: options.text("description"),
      tags: anyOf(options.texts("tag")),
      folder: options.flag("folder") === false ? null : options.text("folder"),
      template: options.flag("template"),
      cpu: cpuChangeOf(options),
      memory: memoryOf(options),
      disksAdd: anyOf(added),
      disksRemove: anyOf(options.texts("removeDisk").map(removalOf)),
      disksChange: anyOf(options.texts("changeDisk").map((text) => diskChangeOf("--change-disk", text))),
      nicsAdd: anyOf(options.texts("addNic").map((text) => nicOf("--add-nic", text))),
      nicsRemove: anyOf(options.texts("removeNic").map((mac) => ({ mac }))),
      nicsChange: anyOf(options.texts("changeNic").map(nicChangeOf)),
    }),
  };
  if (Object.keys(body).length === 0) throw usageError("nothing to change", "See `inn vm set --help`.");
  const vm = await find(api, "vm", name);
  const ifRevision = options.integer("ifRevision");
  const task = await api.call("vmChange", { parameters: { vmId: vm.id }, body, ifRevision });
  await followTask(invocation, task, (ended) => `changed ${vm.name}${pendingText(ended)}`);
}

function removalOf(text: string): { target: string; deleteVolume?: boolean } {
  const pairs = new Pairs("--remove-disk", text, ["target", "delete"], "target");
  const target = pairs.text("target");
  if (target === undefined)
    throw valueError("--remove-disk", "it begins with the disk's target", "As in vdb or vdb,delete.");
  return { target, ...given({ deleteVolume: pairs.flag("delete") }) };
}

function nicChangeOf(text: string): NonNullable<VmChange["nicsChange"]>[number] {
  const pairs = new Pairs("--change-nic", text, ["mac", "link", "network"], "mac");
  const mac = pairs.text("mac");
  if (mac === undefined) throw valueError("--change-nic", "it begins with the card's MAC address");
  const link = pairs.oneOf("link", ["up", "down"]);
  return { mac, ...given({ linkUp: link === undefined ? undefined : link === "up", network: pairs.text("network") }) };
}

/** The task's result names the fields that wait for the next start. */
export function pendingText(task: Task): string {
  const pending = task.result?.["pending"];
  return Array.isArray(pending) && pending.length > 0
    ? `; waits for the next start: ${pending.map(String).join(", ")}`
    : "";
}
