/** <interface> elements. Facts: libvirt 9.0 docs/formatdomain.rst "Network interfaces". A NIC's identity is its MAC. */
import type { Element } from "@xmldom/xmldom";
import type { ReadElement } from "#libvirt/read-xml.ts";
import type { VmNic } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import { add, attribute, child, children, create, ensure, remove, setAttributes, wholeNumber } from "./element.ts";
import { defined } from "#core/defined.ts";

/** The attribute of <source> that says what an interface attaches to, by interface type. */
const sourceAttribute: Readonly<Record<string, string>> = {
  network: "network",
  bridge: "bridge",
  direct: "dev",
  ethernet: "dev",
  internal: "name",
  vdpa: "dev",
};

export function readNics(root: ReadElement): VmNic[] {
  return children(child(root, "devices"), "interface").map(readNic);
}

export function nicByMac<E extends ReadElement>(root: E, mac: string): E | undefined {
  return children(child(root, "devices"), "interface").find(
    (nic) => attribute(child(nic, "mac"), "address")?.toLowerCase() === mac.toLowerCase(),
  );
}

/**
 * What it attaches to. In a running guest libvirt shows the bridge or device that a network was resolved into, and keeps
 * the network's name beside it (virDomainNetDefFormat); the network is what the user configured.
 */
function attachment(nic: ReadElement): { readonly type: string; readonly network: string | undefined } {
  const type = attribute(nic, "type") ?? "";
  const source = child(nic, "source");
  const network = attribute(source, "network");
  if (network !== undefined) return { type: "network", network };
  return { type, network: attribute(source, sourceAttribute[type] ?? "network") };
}

function readNic(nic: ReadElement): VmNic {
  const { type, network } = attachment(nic);
  const link = attribute(child(nic, "link"), "state");
  return {
    mac: attribute(child(nic, "mac"), "address") ?? "",
    type,
    ...defined({
      network,
      model: attribute(child(nic, "model"), "type"),
      hostDevice: attribute(child(nic, "target"), "dev"),
      linkUp: link === undefined ? undefined : link !== "down",
      bootOrder: wholeNumber(attribute(child(nic, "boot"), "order")),
    }),
  };
}

/** A new <interface>, not yet in the document. */
export function nicElement(near: Element, nic: VmNic): Element {
  const element = create(near, "interface", { type: nic.type });
  add(element, "mac", { address: nic.mac });
  if (nic.network !== undefined) setNetwork(element, nic.network);
  add(element, "model", { type: nic.model ?? "virtio" });
  if (nic.linkUp !== undefined) setLink(element, nic.linkUp);
  if (nic.bootOrder !== undefined) add(element, "boot", { order: nic.bootOrder });
  return element;
}

export function setLink(nic: Element, linkUp: boolean): void {
  setAttributes(ensure(nic, "link"), { state: linkUp ? "up" : "down" });
}

/** Attaches to another network or bridge of the kind that the interface has. */
export function setNetwork(nic: Element, network: string): void {
  const { type } = attachment(nic);
  const name = sourceAttribute[type];
  if (name === undefined) {
    throw new AppError("unsupported", `A NIC of type ${type} has no network that can be changed.`, { field: "nics" });
  }
  setAttributes(nic, { type });
  // What libvirt resolved for the running guest belongs to the old network.
  const resolved = { bridge: undefined, dev: undefined, mode: undefined, portid: undefined, portgroup: undefined };
  setAttributes(ensure(nic, "source"), type === "network" ? { ...resolved, network } : { [name]: network });
}

/** A new address in QEMU's range (52:54:00, libvirt virDomainDefPostParse), locally administered and unicast. */
export function randomMac(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(3));
  return ["52", "54", "00", ...Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

/** Gives every NIC a new MAC and forgets the tap device's name. */
export function renewMacs(root: Element): void {
  for (const nic of children(child(root, "devices"), "interface")) {
    setAttributes(ensure(nic, "mac"), { address: randomMac() });
    remove(child(nic, "target"));
  }
}
