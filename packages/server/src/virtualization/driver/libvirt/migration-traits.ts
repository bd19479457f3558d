/**
 * What of a guest decides to which hosts it can go, read from its own host: its XML as a migration would send it, its jobs,
 * and the devices that are tied to the host. Facts: libvirt 9.0 qemu_migration.c (qemuMigrationSrcIsAllowed,
 * qemuMigrationSrcIsAllowedHostdev), docs/formatdomain.rst. Nothing is judged here.
 */
import {
  VIR_DOMAIN_JOB_NONE,
  VIR_DOMAIN_XML_INACTIVE,
  VIR_DOMAIN_XML_MIGRATABLE,
  type TypedParameters,
} from "@innkeeper/libvirt";
import { isLibvirtCode } from "#libvirt/error.ts";
import { element, parseXml, serializeXml } from "#libvirt/xml.ts";
import { readXml, type ReadElement } from "#libvirt/read-xml.ts";
import type { BootFile, MigrationTraits, SecretReference, TiedDevice } from "#virtualization/migration/port.ts";
import type { DomainCall } from "./driver-context.ts";
import { parseCpuSet } from "./domain-xml/cpu-set.ts";
import { attribute, child, children, descendants, text } from "./domain-xml/element.ts";
import { stateFilesOf } from "./guest-state.ts";
import { namedNvram, nvramFolder } from "./nvram.ts";
import { numberOf } from "./job-progress.ts";
import { hostAddresses, listenersOf } from "./listener.ts";

/** virDomainJobOperation's numbers in words (libvirt 9.0 libvirt-domain.h). */
const jobNames: readonly string[] = [
  "unknown",
  "start",
  "save",
  "restore",
  "incoming migration",
  "migration",
  "snapshot",
  "revert to a snapshot",
  "dump",
  "backup",
  "deletion of a snapshot",
];

/** Modes that give a guest the CPU of the host that it runs on. */
const hostCpuModes: readonly (string | undefined)[] = ["host-passthrough", "maximum"];

export async function readTraits(domain: DomainCall, hostUri: string): Promise<MigrationTraits> {
  const { remote, dom, options } = domain;
  const isActive = (await remote.domainIsActive({ dom }, options)).active === 1;
  const flags = VIR_DOMAIN_XML_MIGRATABLE | (isActive ? 0 : VIR_DOMAIN_XML_INACTIVE);
  const [{ xml }, job, checkpointCount] = await Promise.all([
    remote.domainGetXmlDesc({ dom, flags }, options),
    isActive ? jobOf(domain) : undefined,
    checkpoints(domain),
  ]);
  const root = readXml(xml);
  const cpuMode = cpuModeOf(root);
  const [blockJobs, hostCpuXml] = await Promise.all([
    isActive ? withBlockJob(domain, root) : [],
    hostCpuModes.includes(cpuMode) ? hostCpu(domain) : undefined,
  ]);
  const stateFiles = stateFilesOf(domain.connection, dom.uuid, root);
  const traits = traitsOf(root);
  const addresses = traits.listeners.length === 0 ? [] : await hostAddresses(hostUri);
  return { xml, job, blockJobs, checkpointCount, hostCpuXml, cpuMode, stateFiles, hostAddresses: addresses, ...traits };
}

type ReadTraits = Pick<
  MigrationTraits,
  "devices" | "secrets" | "interfaces" | "loader" | "bootFiles" | "listeners" | "ownNvram" | "tpm" | "strictNodes"
>;

/** What the document alone tells. */
export function traitsOf(root: ReadElement): ReadTraits {
  const nvram = namedNvram(root);
  return {
    devices: [...tiedDevices(root), ...tiedDisks(root), ...tiedCards(root), ...tiedFeatures(root)],
    secrets: descendants(root, "secret").map(secretOf),
    interfaces: hostInterfaces(root),
    loader: text(child(root, "os/loader")),
    bootFiles: bootFiles(root),
    listeners: listenersOf(root)
      .filter(({ isFixed }) => isFixed)
      // One that libvirt chose it chooses anew.
      .map(({ kind, device, address, port, isPortFixed }) => ({
        kind,
        device,
        address,
        port: isPortFixed ? port : undefined,
      })),
    ownNvram: nvram === undefined || nvram.startsWith(`${nvramFolder}/`) ? undefined : nvram,
    tpm: tpmOf(root),
    strictNodes: strictNodes(root),
  };
}

function cpuModeOf(root: ReadElement): string | undefined {
  const cpu = child(root, "cpu");
  if (cpu === undefined) return undefined;
  const mode = attribute(cpu, "mode");
  if (mode !== undefined && mode !== "custom") return mode;
  return child(cpu, "model") === undefined ? undefined : "custom";
}

async function jobOf({ remote, dom, options }: DomainCall): Promise<string | undefined> {
  try {
    const { type, params }: { type: number; params: TypedParameters } = await remote.domainGetJobStats(
      { dom },
      options,
    );
    if (type === VIR_DOMAIN_JOB_NONE) return undefined;
    return jobNames[numberOf(params["operation"]) ?? 0] ?? "unknown";
  } catch (error) {
    if (isLibvirtCode(error, "VIR_ERR_OPERATION_INVALID")) return undefined; // it was switched off meanwhile
    throw error;
  }
}

/** Older and other drivers have none. */
async function checkpoints({ remote, dom, options }: DomainCall): Promise<number> {
  const none = { checkpoints: [] };
  return (await remote.domainListAllCheckpoints({ dom, needResults: 1 }, options).catch(() => none)).checkpoints.length;
}

async function withBlockJob({ remote, dom, options }: DomainCall, root: ReadElement): Promise<string[]> {
  const targets = children(child(root, "devices"), "disk").flatMap((disk) => targetOf(disk) ?? []);
  const found = await Promise.all(
    targets.map(async (path) => {
      const job = await remote.domainGetBlockJobInfo({ dom, path }, options).catch(() => ({ found: 0 }));
      return job.found === 1 ? [path] : [];
    }),
  );
  return found.flat();
}

async function hostCpu({ remote, options }: DomainCall): Promise<string | undefined> {
  const cpu = element(parseXml((await remote.connectGetCapabilities({}, options)).capabilities), "host/cpu");
  return cpu === undefined ? undefined : serializeXml(cpu);
}

function tiedDevices(root: ReadElement): TiedDevice[] {
  const devices = child(root, "devices");
  const all = (name: string): ReadElement[] => children(devices, name);
  return [
    ...all("hostdev").map(hostDevice),
    ...all("filesystem").map(folder),
    ...tied("shared-memory", all("shmem").filter(isShared), (shmem) => attribute(shmem, "name") ?? "shmem"),
    ...tied("persistent-memory", all("memory").filter(isPersistent), (memory) => path(memory) ?? "memory"),
    ...tied("encrypted-memory", children(root, "launchSecurity"), (owner) => attribute(owner, "type") ?? ""),
    ...tied("character-device", [...all("serial"), ...all("parallel")].filter(isOfHost), (owner) => path(owner) ?? ""),
    ...tied("character-device", all("input").filter(isHostInput), (owner) => path(owner) ?? ""),
  ];
}

function tied(kind: TiedDevice["kind"], owners: ReadElement[], name: (owner: ReadElement) => string): TiedDevice[] {
  return owners.map((owner) => ({ kind, device: name(owner) }));
}

/** Memory that this guest does not own; its owner's goes along. */
function isShared(shmem: ReadElement): boolean {
  return attribute(child(shmem, "model"), "type") === "ivshmem" || attribute(shmem, "role") !== "master";
}

function isPersistent(memory: ReadElement): boolean {
  return ["nvdimm", "virtio-pmem"].includes(attribute(memory, "model") ?? "");
}

function isOfHost(owner: ReadElement): boolean {
  return attribute(owner, "type") === "dev";
}

function isHostInput(input: ReadElement): boolean {
  return ["passthrough", "evdev"].includes(attribute(input, "type") ?? "");
}

function path(owner: ReadElement): string | undefined {
  const source = child(owner, "source");
  return (
    attribute(source, "path") ?? attribute(source, "evdev") ?? attribute(source, "dev") ?? text(child(source, "path"))
  );
}

/** `pci 0000:06:00.0`, `usb 046d:c52b`, `mdev 4b20d080-…` */
function hostDevice(hostdev: ReadElement): TiedDevice {
  const source = child(hostdev, "source");
  const address = child(source, "address");
  const isTeam = attribute(child(hostdev, "teaming"), "type") === "transient";
  const kind = isTeam ? "failover-device" : "host-device";
  return {
    kind,
    device: `${attribute(hostdev, "type") ?? "device"} ${addressText(address) ?? usbText(source)}`.trim(),
  };
}

function usbText(source: ReadElement | undefined): string {
  const part = (name: string): string | undefined => attribute(child(source, name), "id")?.replace(/^0x/, "");
  return [part("vendor"), part("product")].filter((each) => each !== undefined).join(":");
}

/** https://libvirt.org/formatdomain.html#device-addresses */
function addressText(address: ReadElement | undefined): string | undefined {
  const part = (name: string, width: number): string | undefined =>
    attribute(address, name)?.replace(/^0x/, "").padStart(width, "0");
  const uuid = attribute(address, "uuid");
  if (uuid !== undefined) return uuid;
  const [domain, bus, slot, fn] = [part("domain", 4), part("bus", 2), part("slot", 2), part("function", 1)];
  if (bus === undefined) return undefined;
  return slot === undefined
    ? `bus ${bus} device ${part("device", 1) ?? "?"}`
    : `${domain ?? "0000"}:${bus}:${slot}.${fn ?? 0}`;
}

function folder(filesystem: ReadElement): TiedDevice {
  const isVirtiofs = attribute(child(filesystem, "driver"), "type") === "virtiofs";
  const device = attribute(child(filesystem, "target"), "dir") ?? attribute(child(filesystem, "source"), "dir") ?? "";
  return { kind: isVirtiofs ? "virtiofs" : "folder", device };
}

function tiedDisks(root: ReadElement): TiedDevice[] {
  return children(child(root, "devices"), "disk").flatMap((disk): TiedDevice[] => {
    const device = targetOf(disk) ?? "";
    return [
      ...(attribute(disk, "device") === "lun" ? [{ kind: "lun", device } as const] : []),
      ...(child(disk, "transient") === undefined ? [] : [{ kind: "transient-disk", device } as const]),
      ...(attribute(disk, "type") === "nvme" ? [{ kind: "nvme-disk", device } as const] : []),
      ...(isServedByHost(disk) ? [{ kind: "host-disk", device } as const] : []),
    ];
  });
}

/** What serves it is a program or device of its host: behind the same path another host has other content. */
function isServedByHost(disk: ReadElement): boolean {
  if (["vhostuser", "vhostvdpa"].includes(attribute(disk, "type") ?? "")) return true;
  return children(child(disk, "source"), "host").some((host) => attribute(host, "transport") === "unix");
}

/** libvirt 9.0 docs/formatdomain.rst, "Direct kernel boot", "ACPI". */
function bootFiles(root: ReadElement): BootFile[] {
  return ["kernel", "initrd", "dtb", "acpi/table"].flatMap((name) => {
    const file = text(child(root, `os/${name}`));
    return file === undefined ? [] : [{ kind: name === "acpi/table" ? "ACPI table" : name, path: file }];
  });
}

function tiedCards(root: ReadElement): TiedDevice[] {
  return children(child(root, "devices"), "interface").flatMap((card): TiedDevice[] => {
    const device = macOf(card);
    const type = attribute(card, "type");
    if (type === "hostdev") {
      const isTeam = attribute(child(card, "teaming"), "type") === "transient";
      return [{ kind: isTeam ? "failover-device" : "host-device", device }];
    }
    if (type === "vdpa") return [{ kind: "vdpa", device }];
    return type === "vhostuser" ? [{ kind: "vhost-user", device: path(card) ?? device }] : [];
  });
}

function tiedFeatures(root: ReadElement): TiedDevice[] {
  const wanted = children(child(root, "cpu"), "feature").some(
    (feature) =>
      attribute(feature, "name") === "invtsc" &&
      ["require", "force"].includes(attribute(feature, "policy") ?? "require"),
  );
  const isFixed = children(child(root, "clock"), "timer").some(
    (timer) => attribute(timer, "name") === "tsc" && attribute(timer, "frequency") !== undefined,
  );
  return wanted && !isFixed ? [{ kind: "invariant-tsc", device: "cpu" }] : [];
}

function hostInterfaces(root: ReadElement): MigrationTraits["interfaces"] {
  return children(child(root, "devices"), "interface").flatMap((card) => {
    const type = attribute(card, "type");
    const isBridge = type === "bridge";
    const name =
      isBridge || type === "direct" ? attribute(child(card, "source"), isBridge ? "bridge" : "dev") : undefined;
    return name === undefined ? [] : [{ mac: macOf(card), name, isBridge }];
  });
}

function secretOf(secret: ReadElement): SecretReference {
  const uuid = attribute(secret, "uuid") ?? attribute(secret, "secret");
  const usageType = attribute(secret, "type");
  const usageId = attribute(secret, "usage");
  return {
    device: ownerOf(secret),
    ...(uuid !== undefined && { uuid }),
    ...(usageType !== undefined && { usageType }),
    ...(usageId !== undefined && { usageId }),
  };
}

/** The device that an element stands in: a disk's target, else the element's name. */
function ownerOf(inner: ReadElement): string {
  for (let node = inner.parentNode; node !== null; node = node.parentNode) {
    if (node.parentNode?.nodeName === "devices") return targetOf(node as ReadElement) ?? node.nodeName;
  }
  return "";
}

function tpmOf(root: ReadElement): MigrationTraits["tpm"] {
  const tpm = child(root, "devices/tpm");
  if (tpm === undefined) return "none";
  const type = attribute(child(tpm, "backend"), "type");
  return type === "passthrough" || type === "external" ? type : "emulator";
}

function strictNodes(root: ReadElement): number[] {
  const tune = child(root, "numatune");
  const strict = [child(tune, "memory"), ...children(tune, "memnode")].filter(
    (each) => each !== undefined && (attribute(each, "mode") ?? "strict") === "strict",
  );
  return [...new Set(strict.flatMap((each) => parseCpuSet(attribute(each, "nodeset") ?? "") ?? []))];
}

function targetOf(disk: ReadElement): string | undefined {
  return attribute(child(disk, "target"), "dev");
}

function macOf(card: ReadElement): string {
  return attribute(child(card, "mac"), "address") ?? "";
}
