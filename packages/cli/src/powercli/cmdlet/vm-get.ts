/** Get-VM and Get-Template. */
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { listAll } from "#list.ts";
import { filterValue } from "#lookup.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import type { Parameter } from "#powercli/signature.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import { showVms } from "#powercli/cmdlet/vm-show.ts";
import { hostIdsOf, isBelow, placesOf } from "#powercli/place.ts";
import { datastoreOf } from "#powercli/storage.ts";

const parameters: readonly Parameter[] = [
  { name: "Name", list: true, position: 0, noun: "vm", help: "only these; with wildcards" },
  { name: "Id", list: true, help: "only these, by id" },
  {
    name: "Location",
    list: true,
    noun: "host",
    help: "only those of these hosts, clusters or folders; `-` takes hosts or clusters from standard input",
  },
  { name: "Datastore", list: true, noun: "pool", help: "only those with a disk in these" },
  { name: "Tag", list: true, help: "only those with one of these tags" },
  { name: "NoRecursion", type: "switch", help: "of a folder those that are in it itself, not in ones below" },
];
const refused = {
  RelatedObject: "use -Location or -Datastore",
  VirtualSwitch: "list networks with `inn network list`",
  DistributedSwitch: "list networks with `inn network list`",
};

export const getVm: Cmdlet = {
  name: "Get-VM",
  summary: "List VMs, or some of them.",
  operations: ["vmList"],
  parameters,
  refused,
  examples: [
    "Get-VM",
    "Get-VM web*",
    "Get-VM -Location kvm1 -Tag prod",
    "Get-VM -Location Production/Web",
    "Get-Cluster c1 | inn Get-VM -Location -",
  ],
  run: async (run) => await showVms(run, await wanted(run, false)),
};

export const getTemplate: Cmdlet = {
  name: "Get-Template",
  summary: "List VMs that are templates.",
  operations: ["vmList"],
  parameters,
  refused,
  examples: ["Get-Template", "Get-Template golden*"],
  run: async (run) => await showVms(run, await wanted(run, true)),
};

async function wanted(run: CmdletRun, template: boolean): Promise<readonly Vm[]> {
  const { bound } = run;
  const tests = await Promise.all([byPlace(run), byDatastore(run)]);
  const tags = bound.texts("Tag");
  const all = await run.listed("vm");
  return all.filter(
    (vm) =>
      vm.template === template &&
      (tags.length === 0 || tags.some((tag) => vm.tags.includes(tag))) &&
      tests.every((test) => test(vm)),
  );
}

async function byPlace(run: CmdletRun): Promise<(vm: Vm) => boolean> {
  if (!run.bound.has("Location")) return () => true;
  const references = await run.references("Location");
  const nouns = ["host", "cluster", "folder"] as const;
  const places = await placesOf(run.api, references, "-Location", nouns);
  const hostIds = await hostIdsOf(run.api, places);
  const folders = places.flatMap((place) => (place?.noun === "folder" ? [place.id] : []));
  const isFlat = run.bound.flag("NoRecursion") === true;
  const isIn = (vm: Vm, of: string): boolean => (isFlat ? vm.folder === of : isBelow(vm.folder, of));
  return (vm) => hostIds?.has(vm.hostId) !== false || folders.some((folder) => isIn(vm, folder));
}

async function byDatastore({ api, bound }: CmdletRun): Promise<(vm: Vm) => boolean> {
  if (!bound.has("Datastore")) return () => true;
  const paths = new Set<string>();
  for (const text of bound.texts("Datastore")) {
    const { pools } = await datastoreOf(api, text, "-Datastore");
    for (const { id } of pools) {
      const { items } = await listAll(api, "volumeList", { filter: `poolId=${filterValue(id)}` });
      for (const volume of items) paths.add(`${volume.hostId} ${volume.path}`);
    }
  }
  return (vm) => vm.spec.disks.some(({ source }) => source !== undefined && paths.has(`${vm.hostId} ${source}`));
}
