/** `inn vm create` and `inn vm clone`. */
import type { Command } from "commander";
import type { VmClone, VmCreate } from "@innkeeper/contract/resource/vm.ts";
import { usageError } from "#cli-error.ts";
import type { Invocation } from "#invocation.ts";
import { find } from "#lookup.ts";
import { diskHelp, diskOf, isVolumeId, nicHelp, nicOf } from "#option/device.ts";
import { fileDocument } from "#option/file.ts";
import { anyOf, given } from "#option/given.ts";
import { cpuOf, hardwareOf, hardwareOptions, memoryOf, vmFieldOption } from "#option/vm.ts";
import { followTask } from "#task.ts";
import { addVerb, collect, type Surroundings, taskOptions } from "#verb.ts";

type Disk = NonNullable<VmCreate["disks"]>[number];

export function addCreate(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "create [name]",
    summary: "Create a VM with new disks, from an image, or on volumes that exist.",
    operations: ["vmCreate"],
    options: (command) => taskOptions(requestOptions(command)),
    details: `${diskHelp}\n\n${nicHelp}`,
    examples: [
      "vm create web --vcpus 2 --memory 4G --image debian-12 --disk size=20G --network default --start",
      "vm create db --memory 16G --vcpus 4 --uefi --tpm --disk 40G,pool=fast --disk 500G,cache=none,io=native --network bridge=br0",
      "vm create web2 --memory 4G --image debian-12 --cluster production --folder Production/Web",
      "vm create installer --memory 2G --disk 20G --cdrom /srv/iso/debian-12.iso --network default",
    ],
    run: create,
    fieldOption: vmFieldOption,
  });
}

export function addPreview(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "preview [name]",
    summary: "Print the domain XML that `create` with the same options would define, and where; make nothing.",
    operations: ["vmPreview"],
    options: requestOptions,
    details: `${diskHelp}\n\n${nicHelp}`,
    examples: ["vm preview web --vcpus 2 --memory 4G --image debian-12 --network default"],
    run: async (invocation, argument) => {
      const preview = await invocation.api.call("vmPreview", { body: await requestOf(invocation, argument) });
      invocation.remark(`on host ${preview.hostName}: ${preview.reasons?.join(", ")}\n`);
      await invocation.show(preview, () => preview.domainXml);
    },
    fieldOption: vmFieldOption,
  });
}

function requestOptions(command: Command): Command {
  return hardwareOptions(
    command
      .option("--name <name>", "the VM's name, where it is not an argument")
      .option("--host <host>", "on which host (default: the one with the most free memory that fits)")
      .option("--cluster <cluster>", "on a host of this cluster")
      .option("--image <image>", "the first disk is made from this image")
      .option("--disk <disk>", "a disk, see below; may be repeated", collect)
      .option("--cdrom <path>", "a CD-ROM drive with this ISO file of the host, or `empty`", collect)
      .option("--network <network>", "a network card, see below; may be repeated", collect)
      .option("--description <text>")
      .option("--tag <tag>", "may be repeated", collect)
      .option("--folder <path>", "the folder that it is shown in: Production/Web")
      .option("--start", "start it once it is made")
      .option("--spec <file>", "the request as JSON or YAML, - for standard input; options win over it"),
  );
}

async function create(invocation: Invocation, argument?: string): Promise<void> {
  const body = await requestOf(invocation, argument);
  const task = await invocation.api.call("vmCreate", { body });
  await followTask(invocation, task, () => `created ${body.start === true ? "and started " : ""}VM ${body.name}`);
}

async function requestOf(invocation: Invocation, argument: string | undefined): Promise<VmCreate> {
  const { options, api } = invocation;
  const specFile = options.text("spec");
  const base: Partial<VmCreate> =
    specFile === undefined ? {} : await fileDocument("--spec", specFile, invocation.terminal);
  const name = argument ?? options.text("name") ?? base.name;
  if (name === undefined) throw usageError("the VM needs a name", "inn vm create <name> --memory 2G …");
  const memory = { ...base.memory, ...memoryOf(options) };
  const { sizeMiB } = memory;
  if (sizeMiB === undefined) throw usageError("the VM needs memory", "Say how much with --memory, e.g. --memory 2G.");
  const cpu = { ...base.cpu, ...cpuOf(options) };
  const hostName = options.text("host") ?? base.host;
  const disks = await disksOf(invocation);
  const nics = options.texts("network").map((text) => nicOf("--network", text));
  return {
    ...base,
    ...hardwareOf(options),
    ...given({
      host: hostName === undefined ? undefined : (await find(api, "host", hostName)).id,
      description: options.text("description"),
      cluster: options.text("cluster"),
      tags: anyOf(options.texts("tag")),
      folder: options.text("folder"),
      start: options.flag("start"),
      disks: anyOf(disks),
      nics: anyOf(nics),
    }),
    name,
    memory: { ...memory, sizeMiB },
    // `--pin` and the like without --vcpus: one vCPU, as the server's own default.
    ...(Object.keys(cpu).length === 0 ? {} : { cpu: { ...cpu, count: cpu.count ?? 1 } }),
  };
}

/** `--image` is the source of the first disk that has none, or a disk of its own; `--cdrom` comes last. */
async function disksOf(invocation: Invocation): Promise<Disk[]> {
  const { options } = invocation;
  const image = options.text("image");
  let texts = [...options.texts("disk")];
  if (image !== undefined) {
    const first = texts[0];
    const hasSource = first !== undefined && /(^|,)(image|volume|path|device)=/.test(first);
    const withImage = first === undefined || hasSource ? `image=${image}` : `${first},image=${image}`;
    texts = [withImage, ...texts.slice(first === undefined || hasSource ? 0 : 1)];
  }
  const disks: Disk[] = [];
  for (const text of texts) disks.push(await diskOf("--disk", text, async (name) => await volumeId(invocation, name)));
  const drives = options
    .texts("cdrom")
    .map((path): Disk => (path === "empty" ? { device: "cdrom" } : { device: "cdrom", path }));
  return [...disks, ...drives];
}

export async function volumeId(invocation: Invocation, name: string): Promise<Disk["volumeId"]> {
  return isVolumeId(name) ? name : (await find(invocation.api, "volume", name)).id;
}

export function addClone(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "clone <vm> <name>",
    summary: "Clone a VM, in full or linked to the source's disks.",
    operations: ["vmClone"],
    options: (command) =>
      taskOptions(command)
        .option("--linked", "overlays on the source's disks: made in a moment, and small")
        .option("--snapshot <snapshot>", "clone this snapshot (default: the present state)")
        .option("--pool <pool>", "where the new disks go")
        .option("--description <text>")
        .option("--folder <path>", "the folder that it is shown in (default: the source's)")
        .option("--start", "start it once it is made"),
    examples: ["vm clone web web2", "vm clone golden test-1 --linked --start"],
    run: async (invocation, source, name) => {
      const { options, api } = invocation;
      const vm = await find(api, "vm", source);
      const snapshot = options.text("snapshot");
      const body: VmClone = {
        name,
        ...given({
          linked: options.flag("linked"),
          snapshot: snapshot === undefined ? undefined : (await find(api, "snapshot", snapshot, { vmId: vm.id })).id,
          pool: options.text("pool"),
          description: options.text("description"),
          folder: options.text("folder"),
          start: options.flag("start"),
        }),
      };
      const task = await api.call("vmClone", { parameters: { vmId: vm.id }, body });
      await followTask(invocation, task, () => `cloned ${vm.name} to ${name}`);
    },
  });
}
