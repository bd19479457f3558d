/**
 * What the host's libvirt can do for one domain type, architecture and machine: its domain capabilities
 * (libvirt 9.0 docs/formatdomaincaps.rst). What the document does not mention is not checked: older and other drivers
 * say less. Remembered per connection, since a daemon that is replaced by a newer one closes it.
 */
import type { CallOptions, Connection } from "@innkeeper/libvirt";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import { isLibvirtCode } from "#libvirt/error.ts";
import { readXml, type ReadElement } from "#libvirt/read-xml.ts";
import { attribute, child, children, text, wholeNumber } from "./domain-xml/element.ts";
import { defaultMachineOf, type Platform } from "./domain-xml/build.ts";

export interface PlatformCapabilities {
  readonly emulator: string | undefined;
  readonly vcpuMax: number | undefined;
  readonly cpuModes: readonly string[];
  /** Models that this host can run. */
  readonly cpuModels: readonly string[];
  /** undefined: the host does not say. */
  readonly firmwares: readonly string[] | undefined;
  readonly secureBoot: boolean;
  /** Firmware images that exist on the host. */
  readonly loaders: readonly string[] | undefined;
  readonly tpm: boolean | undefined;
  readonly graphics: readonly string[] | undefined;
  readonly videos: readonly string[] | undefined;
}

type PlatformSpec = Pick<VmSpec, "domainType" | "architecture" | "machine">;

const remembered = new WeakMap<Connection, Map<string, PlatformCapabilities | undefined>>();

/** undefined when the driver has no such thing (test, LXC). */
export async function platformCapabilities(
  connection: Connection,
  spec: PlatformSpec,
  options: CallOptions,
): Promise<PlatformCapabilities | undefined> {
  const known = remembered.get(connection) ?? new Map<string, PlatformCapabilities | undefined>();
  remembered.set(connection, known);
  const key = JSON.stringify([spec.domainType, spec.architecture, spec.machine]);
  if (!known.has(key)) known.set(key, await ask(connection, spec, options));
  return known.get(key);
}

async function ask(
  connection: Connection,
  spec: PlatformSpec,
  options: CallOptions,
): Promise<PlatformCapabilities | undefined> {
  const args = { arch: spec.architecture, machine: defaultMachineOf(spec) ?? null, virttype: spec.domainType };
  const answer = await connection.remote.connectGetDomainCapabilities(args, options).catch((error: unknown) => {
    if (isLibvirtCode(error, "VIR_ERR_NO_SUPPORT")) return undefined;
    if (!isLibvirtCode(error, "VIR_ERR_INVALID_ARG") && !isLibvirtCode(error, "VIR_ERR_CONFIG_UNSUPPORTED"))
      throw error;
    const what = `VMs of type ${spec.domainType}, architecture ${spec.architecture}, machine ${args.machine ?? "default"}`;
    const words = error instanceof Error ? error.message : String(error);
    throw new AppError("unsupported", `This host can't run ${what}: ${words}`, { field: "domainType", cause: error });
  });
  return answer && readCapabilities(readXml(answer.capabilities));
}

export function readCapabilities(root: ReadElement): PlatformCapabilities {
  const modes = children(child(root, "cpu"), "mode").filter((mode) => attribute(mode, "supported") === "yes");
  const custom = modes.find((mode) => attribute(mode, "name") === "custom");
  const models = children(custom, "model").filter((model) => attribute(model, "usable") !== "no");
  const tpm = child(root, "devices/tpm");
  return {
    emulator: text(child(root, "path")),
    vcpuMax: wholeNumber(attribute(child(root, "vcpu"), "max")),
    cpuModes: modes.flatMap((mode) => attribute(mode, "name") ?? []),
    cpuModels: models.flatMap((model) => text(model) ?? []),
    firmwares: values(child(root, "os"), "firmware"),
    secureBoot: values(child(root, "os/loader"), "secure")?.includes("yes") ?? false,
    loaders: loaderFiles(child(root, "os/loader")),
    tpm: tpm && attribute(tpm, "supported") === "yes" && (values(tpm, "backendModel")?.includes("emulator") ?? true),
    graphics: values(child(root, "devices/graphics"), "type"),
    videos: values(child(root, "devices/video"), "modelType"),
  };
}

function loaderFiles(loader: ReadElement | undefined): string[] | undefined {
  return loader && children(loader, "value").flatMap((value) => text(value) ?? []);
}

function values(owner: ReadElement | undefined, name: string): string[] | undefined {
  const list = children(owner, "enum").find((each) => attribute(each, "name") === name);
  return list && children(list, "value").flatMap((value) => text(value) ?? []);
}

/**
 * The CPU of a VM whose spec names none: as much of the host's as can be migrated. Without hardware virtualization there
 * is nothing of the host's to pass on, and the most that the emulator can do is taken.
 */
export function platformOf(capabilities: PlatformCapabilities | undefined): Platform {
  const model = ["host-model", "maximum"].find((mode) => capabilities?.cpuModes.includes(mode));
  return {
    ...(capabilities?.emulator !== undefined && { emulator: capabilities.emulator }),
    ...(model !== undefined && { cpuModel: model }),
  };
}
