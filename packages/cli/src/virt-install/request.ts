/** The request that a guest becomes: what Innkeeper models as fields, everything else as the domain's document. */
import { checkName } from "@innkeeper/contract/name.ts";
import type { VmCreate } from "@innkeeper/contract/resource/vm.ts";
import { CliError, valueError } from "#cli-error.ts";
import type { Built } from "./build.ts";
import type { XmlElement } from "./element.ts";
import type { Guest } from "./guest.ts";
import { installDocument } from "./install.ts";
import { resolveDisk, type Storage } from "./storage.ts";
import type { Words } from "./word.ts";

export async function requestOf({ guest, installation }: Built, words: Words, storage: Storage): Promise<VmCreate> {
  checkGuestName(guest.name);
  // In order: two disks of one name would be two different things by then.
  const disks: NonNullable<VmCreate["disks"]> = [];
  for (const wish of guest.disks) disks.push(await resolveDisk(wish, storage, guest.remarks));
  const install = installDocument(guest, installation);
  const host = words.text("--host");
  return {
    name: guest.name,
    ...(host !== undefined && { host }),
    ...(guest.uuid !== undefined && { uuid: guest.uuid.toLowerCase() }),
    ...(guest.description !== undefined && { description: guest.description }),
    ...(words.has("--tag") && { tags: words.texts("--tag") }),
    ...(words.has("--autostart") && { autostart: true }),
    start: true,
    cpu: cpuOf(guest.root),
    memory: memoryOf(guest.root),
    ...(guest.machine !== undefined && { machine: guest.machine }),
    ...(guest.isUefi && { firmware: "uefi" }),
    ...(guest.all("tpm").length > 0 && { tpm: true }),
    disks,
    nics: guest.nics.map(({ network, bridge, mac }) => ({
      ...(network !== undefined && { network }),
      ...(bridge !== undefined && { bridge }),
      ...(mac !== undefined && { mac }),
    })),
    domainXml: guest.root.toString(),
    ...(install !== undefined && { installXml: install.toString() }),
  };
}

function checkGuestName(name: string): void {
  const wrong = checkName(name);
  if (wrong !== undefined) throw valueError("--name", `The name ${wrong}.`);
}

function cpuOf(root: XmlElement): NonNullable<VmCreate["cpu"]> {
  const vcpu = root.find("vcpu");
  const most = Number(vcpu?.text ?? 1);
  const current = vcpu?.attributes.get("current");
  const cpu = root.find("cpu");
  const mode = cpu?.attributes.get("mode");
  const model = mode === undefined || mode === "custom" ? cpu?.find("model")?.text : mode;
  return {
    count: Number(current ?? most),
    ...(current !== undefined && { maxCount: most }),
    ...(model !== undefined && { model }),
  };
}

const kibPerMib = 1024;

function memoryOf(root: XmlElement): VmCreate["memory"] {
  const mib = (name: string): number => Math.round(Number(root.find(name)?.text ?? 0) / kibPerMib);
  const [sizeMiB, balloonMiB] = [mib("memory"), mib("currentMemory")];
  return { sizeMiB, ...(balloonMiB > 0 && balloonMiB !== sizeMiB && { balloonMiB }) };
}

const optionOf: Readonly<Record<string, string>> = {
  name: "--name",
  host: "--host",
  uuid: "--uuid",
  cpu: "--vcpus, --cpu",
  memory: "--memory",
  machine: "--machine",
  firmware: "--boot uefi",
  tpm: "--tpm",
  nics: "--network",
  graphics: "--graphics",
  video: "--video",
  tags: "--tag",
};

/** What the server says of the request, with the option that stands for the field. */
export async function inOptions<T>(guest: Guest, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const field = error instanceof CliError ? error.detail.field : undefined;
    if (!(error instanceof CliError) || field === undefined || field.startsWith("-")) throw error;
    const [, name = "", index] = /^(\w+)(?:\[(\d+)\])?/.exec(field) ?? [];
    const disk = name === "disks" ? guest.disks[Number(index)] : undefined;
    const option = disk === undefined ? optionOf[name] : `${disk.option} ${disk.text}`.trim();
    throw option === undefined ? error : error.withOption(option);
  }
}
