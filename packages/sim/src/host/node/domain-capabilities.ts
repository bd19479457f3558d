// What QEMU can do for one kind of guest on a host (docs/formatdomaincaps.rst), as libvirt 9.0 tells of QEMU 7.2 on
// Debian 12. Some of the lists are shortened to what is in use.
import { VIR_ERR_INVALID_ARG, VIR_FROM_QEMU } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { element, format, leaf } from "#xml/element.ts";
import { ALIASES, EMULATOR, MACHINES } from "./capabilities.ts";
import type { Element } from "#xml/element.ts";
import type { NodeShape } from "./shape.ts";

export interface DomainCapabilitiesQuery {
  readonly emulatorbin: string | null;
  readonly arch: string | null;
  readonly machine: string | null;
  readonly virttype: string | null;
}

const COMMON_MODELS = ["qemu32", "qemu64", "kvm32", "kvm64"];
/** From the oldest on: a host runs its own and those before it. */
export const CPU_MODELS = [
  ...COMMON_MODELS,
  ...[
    "Conroe Penryn Nehalem Nehalem-IBRS Westmere Westmere-IBRS SandyBridge SandyBridge-IBRS",
    "IvyBridge IvyBridge-IBRS Haswell-noTSX Haswell Haswell-IBRS Broadwell-noTSX Broadwell",
    "Broadwell-IBRS Skylake-Client Skylake-Client-IBRS Skylake-Server Skylake-Server-IBRS",
    "Cascadelake-Server Icelake-Server Sapphire-Rapids",
  ].flatMap((line) => line.split(" ")),
];
const AMD_MODELS = ["Opteron_G1", "EPYC", "EPYC-IBPB", "EPYC-Rome", "EPYC-Milan"];

/** Whether a host with CPU `host` can run guests with CPU `model`. */
export function runsModel(host: string, model: string): boolean {
  const list = AMD_MODELS.includes(host) ? [...COMMON_MODELS, ...AMD_MODELS] : CPU_MODELS;
  return list.includes(model) && list.indexOf(model) <= list.indexOf(host);
}

export function domainCapabilitiesXml(shape: NodeShape, query: DomainCapabilitiesQuery): string {
  const virttype = query.virttype ?? (shape.hasKvm ? "kvm" : "qemu");
  const arch = query.arch ?? "x86_64";
  if (virttype === "kvm" && !shape.hasKvm) throw invalid(`KVM is not supported by '${EMULATOR}' on this host`);
  if (virttype !== "kvm" && virttype !== "qemu") throw invalid(`unknown virttype: ${virttype}`);
  if (arch !== "x86_64" && arch !== "i686")
    throw invalid(`unable to find any emulator to serve '${arch}' architecture`);
  const emulator = query.emulatorbin ?? (arch === "i686" ? "/usr/bin/qemu-system-i386" : EMULATOR);
  const wanted = query.machine ?? "pc";
  const machine = ALIASES[wanted] ?? wanted;
  const found = MACHINES.find(([name]) => name === machine);
  if (found === undefined) throw invalid(`the machine '${wanted}' is not supported by emulator '${emulator}'`);
  return format(
    element("domainCapabilities", {}, [
      leaf("path", emulator),
      leaf("domain", virttype),
      leaf("machine", machine),
      leaf("arch", arch),
      element("vcpu", { max: found[1] }),
      element("iothreads", { supported: "yes" }),
      os(machine),
      cpu(shape, virttype === "kvm"),
      part("memoryBacking", { sourceType: ["file", "anonymous", "memfd"] }),
      element("devices", {}, devices()),
      features(),
    ]),
  );
}

function invalid(detail: string): SimError {
  return new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_QEMU, detail);
}

type Enums = Readonly<Record<string, readonly string[]>>;

function part(name: string, enums: Enums): Element {
  const lists = Object.entries(enums).map(([key, values]) =>
    element(
      "enum",
      { name: key },
      values.map((value) => leaf("value", value)),
    ),
  );
  return element(name, { supported: "yes" }, lists);
}

function os(machine: string): Element {
  const firmware = element("enum", { name: "firmware" }, [leaf("value", "efi")]);
  const isQ35 = machine.includes("q35");
  const images = ["/usr/share/OVMF/OVMF_CODE_4M.fd", ...(isQ35 ? ["/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"] : [])];
  const secure = isQ35 ? ["yes", "no"] : ["no"];
  const loader = part("loader", { type: ["rom", "pflash"], readonly: ["yes", "no"], secure });
  loader.children.unshift(...images.map((image) => leaf("value", image)));
  return element("os", { supported: "yes" }, [firmware, loader]);
}

function cpu(shape: NodeShape, isKvm: boolean): Element {
  const model = isKvm ? shape.cpuModel : "EPYC";
  const custom = [...CPU_MODELS, ...AMD_MODELS].map((name) =>
    leaf("model", name, { usable: supported(runsModel(model, name)), vendor: vendorOf(name) }),
  );
  const passthrough = isKvm ? [migratable("hostPassthroughMigratable")] : [];
  const required = ["ss", "vmx", "pdcm", "hypervisor", "tsc_adjust", "md-clear", "stibp", "ssbd"];
  return element("cpu", {}, [
    element("mode", { name: "host-passthrough", supported: supported(isKvm) }, passthrough),
    element("mode", { name: "maximum", supported: "yes" }, [migratable("maximumMigratable")]),
    element("mode", { name: "host-model", supported: "yes" }, [
      leaf("model", model, { fallback: "forbid" }),
      leaf("vendor", isKvm ? shape.cpuVendor : "AMD"),
      ...required.map((name) => element("feature", { policy: "require", name })),
    ]),
    element("mode", { name: "custom", supported: "yes" }, custom),
  ]);
}

function vendorOf(model: string): string {
  if (AMD_MODELS.includes(model)) return "AMD";
  return COMMON_MODELS.includes(model) ? "unknown" : "Intel";
}

function devices(): Element[] {
  const virtio = ["virtio", "virtio-transitional", "virtio-non-transitional"];
  const policy = ["default", "mandatory", "requisite", "optional"];
  const backendModel = ["passthrough", "emulator", "external"];
  return [
    part("disk", {
      diskDevice: ["disk", "cdrom", "floppy", "lun"],
      bus: ["ide", "fdc", "scsi", "virtio", "usb", "sata"],
      model: virtio,
    }),
    part("graphics", { type: ["vnc", "spice", "egl-headless"] }),
    part("video", { modelType: ["vga", "cirrus", "vmvga", "qxl", "virtio", "none", "bochs", "ramfb"] }),
    part("hostdev", {
      mode: ["subsystem"],
      startupPolicy: policy,
      subsysType: ["usb", "pci", "scsi"],
      capsType: [],
      pciBackend: ["default", "vfio"],
    }),
    part("rng", { model: virtio, backendModel: ["random", "egd", "builtin"] }),
    part("filesystem", { driverType: ["path", "handle", "virtiofs"] }),
    part("tpm", { model: ["tpm-tis", "tpm-crb"], backendModel, backendVersion: ["1.2", "2.0"] }),
    part("redirdev", { bus: ["usb"] }),
    part("channel", { type: ["pty", "unix", "spicevmc"] }),
  ];
}

function features(): Element {
  return element("features", {}, [
    flag("gic", "no"),
    flag("vmcoreinfo", "yes"),
    flag("genid", "yes"),
    flag("backingStoreInput", "yes"),
    flag("backup", "yes"),
    flag("sev", "no"),
    flag("sgx", "no"),
  ]);
}

function supported(is: boolean): string {
  return is ? "yes" : "no";
}

function migratable(name: string): Element {
  return element("enum", { name }, [leaf("value", "on"), leaf("value", "off")]);
}

function flag(name: string, supported: string): Element {
  return element(name, { supported });
}
