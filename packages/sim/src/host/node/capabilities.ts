// What a host says that it is and can: capabilities and SMBIOS data, in the shape of Debian 12's libvirt 9.0 with QEMU 7.2
// on x86 (docs/formatcaps.rst, docs/formatdomain.rst).
import { element, format, leaf } from "#xml/element.ts";
import type { Element } from "#xml/element.ts";
import type { SimNode } from "./node.ts";
import type { NodeShape } from "./shape.ts";

export const EMULATOR = "/usr/bin/qemu-system-x86_64";
const VERSIONS = ["7.2", "7.1", "7.0", "6.2", "6.1", "6.0", "5.2", "5.1", "5.0"];
/** Newest first: name, most vCPUs. */
export const MACHINES: readonly (readonly [name: string, maxCpus: number])[] = VERSIONS.flatMap((version) => [
  [`pc-i440fx-${version}`, 255] as const,
  [`pc-q35-${version}`, 288] as const,
]);
export const ALIASES: Readonly<Record<string, string>> = { pc: "pc-i440fx-7.2", q35: "pc-q35-7.2" };

const FEATURES = [
  "ds acpi ss ht tm pbe dtes64 monitor ds_cpl vmx smx est tm2 xtpr pdcm",
  "dca osxsave tsc_adjust cmt clflushopt intel-pt md-clear stibp ssbd xsaves invtsc",
].flatMap((line) => line.split(" "));

function hostCpu(shape: NodeShape): Element {
  const topology = { sockets: shape.sockets, dies: 1, cores: shape.coresPerSocket, threads: shape.threadsPerCore };
  return element("cpu", {}, [
    leaf("arch", "x86_64"),
    leaf("model", shape.cpuModel),
    leaf("vendor", shape.cpuVendor),
    element("topology", topology),
    ...FEATURES.map((name) => element("feature", { name })),
    ...[4, 2_048, 1_048_576].map((size) => element("pages", { unit: "KiB", size })),
  ]);
}

export function capabilitiesXml(uuid: string, node: SimNode): string {
  const { shape } = node;
  const host = element("host", {}, [
    leaf("uuid", uuid),
    hostCpu(shape),
    element("power_management", {}, [element("suspend_mem")]),
    element("iommu", { support: "yes" }),
    element("migration_features", {}, [
      element("live"),
      element("uri_transports", {}, [leaf("uri_transport", "tcp"), leaf("uri_transport", "rdma")]),
    ]),
    element("topology", {}, [cells(node)]),
    model("none"),
    model("dac", base("kvm"), base("qemu")),
  ]);
  const guests = ["i686", "x86_64"].map((arch) => guest(arch, shape.hasKvm));
  return format(element("capabilities", {}, [host, ...guests]));
}

function cells(node: SimNode): Element {
  const { shape } = node;
  const memoryKiB = Math.floor(node.memoryKiB / shape.sockets);
  const ids = Array.from({ length: shape.sockets }, (_each, id) => id);
  const list = ids.map((id) => {
    const cpus = node.cpusOf(id).map((cpu, index) => cpuElement(shape, id, cpu, index));
    const distances = ids.map((other) => element("sibling", { id: other, value: other === id ? 10 : 21 }));
    return element("cell", { id }, [
      leaf("memory", memoryKiB, { unit: "KiB" }),
      pages(Math.floor(memoryKiB / 4), "4"),
      pages(0, "2048"),
      pages(0, "1048576"),
      element("distances", {}, distances),
      element("cpus", { num: cpus.length }, cpus),
    ]);
  });
  return element("cells", { num: shape.sockets }, list);
}

function cpuElement({ threadsPerCore }: NodeShape, socket: number, cpu: number, index: number): Element {
  const first = cpu - (index % threadsPerCore);
  const siblings = threadsPerCore === 1 ? `${cpu}` : `${first}-${first + threadsPerCore - 1}`;
  const core = Math.floor(index / threadsPerCore);
  return element("cpu", { id: cpu, socket_id: socket, die_id: 0, core_id: core, siblings });
}

function guest(arch: string, hasKvm: boolean): Element {
  const machines = MACHINES.map(([name, maxCpus]) => leaf("machine", name, { maxCpus: String(maxCpus) }));
  const aliases = Object.entries(ALIASES).map(([name, canonical]) =>
    leaf("machine", name, { canonical, maxCpus: name === "pc" ? "255" : "288" }),
  );
  const children = [
    leaf("wordsize", arch === "i686" ? 32 : 64),
    leaf("emulator", arch === "i686" ? "/usr/bin/qemu-system-i386" : EMULATOR),
    ...machines,
    ...aliases,
    element("domain", { type: "qemu" }),
    ...(hasKvm ? [element("domain", { type: "kvm" })] : []),
  ];
  const pae = arch === "i686" ? [element("pae"), element("nonpae")] : [];
  return element("guest", {}, [
    leaf("os_type", "hvm"),
    element("arch", { name: arch }, children),
    element("features", {}, [
      ...pae,
      element("acpi", { default: "on", toggle: "yes" }),
      element("apic", { default: "on", toggle: "no" }),
      element("cpuselection"),
      element("deviceboot"),
      element("disksnapshot", { default: "on", toggle: "no" }),
    ]),
  ]);
}

/** What the machine's firmware tells. */
export function sysinfoXml(uuid: string, shape: NodeShape): string {
  const processors = Array.from({ length: shape.sockets }, (_each, socket) =>
    element("processor", {}, [
      entry("socket_destination", `CPU${socket + 1}`),
      entry("type", "Central Processor"),
      entry("manufacturer", shape.cpuVendor),
      entry("version", shape.cpuProduct),
    ]),
  );
  return format(
    element("sysinfo", { type: "smbios" }, [
      element("bios", {}, [entry("vendor", shape.manufacturer), entry("version", "1.0"), entry("date", "01/01/2026")]),
      element("system", {}, [
        entry("manufacturer", shape.manufacturer),
        entry("product", shape.product),
        entry("serial", uuid.slice(0, 8).toUpperCase()),
        entry("uuid", uuid),
      ]),
      ...processors,
    ]),
  );
}

function model(name: string, ...labels: Element[]): Element {
  return element("secmodel", {}, [leaf("model", name), leaf("doi", 0), ...labels]);
}

function base(type: string): Element {
  return leaf("baselabel", "+64055:+64055", { type });
}

function pages(count: number, size: string): Element {
  return leaf("pages", count, { unit: "KiB", size });
}

function entry(name: string, text: string): Element {
  return leaf("entry", text, { name });
}
