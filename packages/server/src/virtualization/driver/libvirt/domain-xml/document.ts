/**
 * A client's domain document and the definition of a VM → the XML of a new domain. Everything in the document stays;
 * what the definition decides (name, identity, type, emulator, CPUs, memory, what disks and interfaces are attached to)
 * is put into it. No default of ours is added: the document is complete, or libvirt's defaults are meant.
 */
import type { Element } from "@xmldom/xmldom";
import type { VmDisk, VmNic } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import { parseXml, serializeXml } from "#libvirt/xml.ts";
import type { GuestDefinition } from "#virtualization/port.ts";
import { editCpu } from "./cpu.ts";
import { diskByTarget, setSource } from "./disk.ts";
import { checkDocument } from "./document-check.ts";
import { append, attribute, child, children, ensure, remove, setAttributes, setText } from "./element.ts";
import { editMemory } from "./memory.ts";
import { editMetadata } from "./metadata.ts";

/** Where the document is in a request. */
export const documentField = "domainXml";

type DocumentDefinition = GuestDefinition & { readonly document: string };

export function isFromDocument(definition: GuestDefinition): definition is DocumentDefinition {
  return definition.document !== undefined;
}

/** The document's root. invalid_field when it is none of a domain, unsupported when it reaches out of the guest. */
export function parseDocument(document: string): Element {
  const root = parseDomain(document);
  checkDocument(root, documentField);
  return root;
}

/** The root of a document that claims to be a domain's; nothing in it is checked yet. */
export function parseDomain(document: string): Element {
  let root: Element;
  try {
    root = parseXml(document);
  } catch (error) {
    if (error instanceof AppError)
      throw invalid(error.message.replace(/^The host sent XML that can't be read: (.*)\.$/s, "$1"));
    throw error;
  }
  if (root.tagName !== "domain" || root.namespaceURI) throw invalid(`it is a <${root.tagName}>, not a <domain>`);
  return root;
}

/** invalid_field; `what` as after a colon. */
export function invalid(what: string): AppError {
  const field = documentField;
  return new AppError("invalid_field", `The domain's document can't be used: ${what}.`, { field });
}

export function buildFromDocument(definition: DocumentDefinition, platform: { readonly emulator?: string }): string {
  const { spec } = definition;
  const root = parseDocument(definition.document);
  setAttributes(root, { type: spec.domainType, id: undefined });
  setText(root, "name", definition.name);
  setText(root, "uuid", definition.uuid);
  editMetadata(root, definition.metadata);
  editMemory(root, spec.memory);
  editCpu(root, spec.cpu);
  const type = ensure(root, "os/type");
  if (type.textContent !== "hvm") type.textContent = "hvm";
  const architecture = attribute(type, "arch");
  if (architecture !== undefined && architecture !== spec.architecture) {
    throw invalid(`it is for ${architecture}, the host is ${spec.architecture}`);
  }
  setAttributes(type, { arch: spec.architecture });
  setText(ensure(root, "devices"), "emulator", platform.emulator);
  attachDisks(root, spec.disks);
  attachInterfaces(root, spec.nics);
  arrange(root, domainOrder);
  arrange(ensure(root, "devices"), deviceOrder);
  return `${serializeXml(root)}\n`;
}

/** As libvirt prints them (virDomainDefFormatInternal), for the people who read it. */
const domainOrder =
  "name uuid genid title description metadata maxMemory memory currentMemory memoryBacking blkiotune memtune vcpu vcpus iothreads iothreadids defaultiothread cputune numatune sysinfo os features cpu clock on_poweroff on_reboot on_crash on_lockfailure pm devices launchSecurity keywrap";
const deviceOrder =
  "emulator disk controller interface smartcard serial parallel console channel input tpm graphics sound";

function arrange(parent: Element, order: string): void {
  const names = order.split(" ");
  const rank = ({ tagName }: Element): number => (names.indexOf(tagName) + names.length + 1) % (names.length + 1);
  // Equal ones stay in their order, which has a meaning.
  for (const element of children(parent).toSorted((a, b) => rank(a) - rank(b))) {
    remove(element);
    append(parent, element);
  }
}

function attachDisks(root: Element, disks: readonly VmDisk[]): void {
  for (const element of children(child(root, "devices"), "disk")) {
    const target = attribute(child(element, "target"), "dev") ?? "";
    if (!disks.some((disk) => disk.target === target)) throw invalid(`its disk "${target}" is not among the request's`);
  }
  for (const disk of disks) {
    const element = diskByTarget(root, disk.target);
    if (element === undefined) throw invalid(`it has no disk ${disk.target}`);
    const policy = attribute(child(element, "source"), "startupPolicy");
    setAttributes(element, { type: disk.sourceType, device: disk.device });
    setSource(element, disk.source);
    setAttributes(ensure(element, "driver"), { name: "qemu", type: disk.format ?? "raw" });
    if (disk.source !== undefined) setAttributes(ensure(element, "source"), { startupPolicy: policy });
  }
}

function attachInterfaces(root: Element, nics: readonly VmNic[]): void {
  const elements = children(child(root, "devices"), "interface");
  if (elements.length !== nics.length) {
    throw invalid(`it has ${elements.length} interfaces, the request ${nics.length} network cards`);
  }
  for (const [index, element] of elements.entries()) {
    const nic = nics[index];
    if (nic === undefined) continue;
    const portgroup = attribute(child(element, "source"), "portgroup");
    remove(child(element, "source"));
    setAttributes(element, { type: nic.type });
    setAttributes(ensure(element, "mac"), { address: nic.mac });
    const attached = nic.type === "bridge" ? { bridge: nic.network } : { network: nic.network, portgroup };
    setAttributes(ensure(element, "source"), attached);
  }
}
