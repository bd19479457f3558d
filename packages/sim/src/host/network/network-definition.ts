// A network's definition as libvirt keeps it, from a client's XML: checked, completed, in libvirt's order (libvirt 9.0
// src/conf/network_conf.c virNetworkDefParseXML and virNetworkDefFormatBuf; networkValidate in
// src/network/bridge_driver.c).
import {
  VIR_ERR_CONFIG_UNSUPPORTED,
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_NO_NAME,
  VIR_ERR_XML_DETAIL,
  VIR_ERR_XML_ERROR,
  VIR_FROM_NETWORK,
  VIR_FROM_NONE,
  VIR_FROM_XML,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { normalUuid, parseDocument } from "#xml/document.ts";
import {
  attributeOf,
  clone,
  element,
  type Element,
  elements,
  find,
  format,
  leaf,
  replaceChild,
  textOf,
} from "#xml/element.ts";
import { inSubnet, parseIpv4, type Subnet, subnetOf } from "./ipv4.ts";

/** virNetworkForwardType without "none". */
const FORWARD_MODES = ["nat", "route", "open", "bridge", "private", "vepa", "passthrough", "hostdev"];
/** Modes in which the host has a bridge of the network's own. */
const OWN_BRIDGE: readonly string[] = ["none", "nat", "route", "open"];
const ORDER = [
  "name",
  "uuid",
  "metadata",
  "forward",
  "bridge",
  "mtu",
  "mac",
  "domain",
  "dns",
  "vlan",
  "bandwidth",
  "port",
  "ip",
  "route",
  "virtualport",
  "portgroup",
];

export interface NetworkFacts {
  readonly name: string;
  readonly uuid: string;
  readonly mode: string;
  readonly bridge: string | undefined;
  readonly subnets: readonly Subnet[];
}

export interface Chance {
  uuid(): string;
  mac(): string;
}

export function networkError(code: number, detail: string): SimError {
  return new SimError(code, VIR_FROM_NETWORK, detail);
}

const xmlError = (detail: string): SimError => networkError(VIR_ERR_XML_ERROR, detail);

/** @param freeBridge names a bridge for a network that names none. */
export function readNetwork(text: string, chance: Chance, freeBridge: () => string): Element {
  const root = parseDocument(text, "(network_definition)", "network");
  const name = textOf(root, "name");
  if (!name) throw new SimError(VIR_ERR_NO_NAME, VIR_FROM_NETWORK);
  if (name.includes("/")) throw new SimError(VIR_ERR_XML_DETAIL, VIR_FROM_XML, "invalid char in name: /");
  const given = textOf(root, "uuid");
  const uuid = given ? normalUuid(given) : chance.uuid();
  if (uuid === undefined) throw networkError(VIR_ERR_INTERNAL_ERROR, "malformed uuid element");
  replaceChild(root, "uuid", leaf("uuid", uuid));
  completeForward(root);
  for (const ip of elements(root, "ip")) checkIp(ip, name);
  completeBridge(root, name, freeBridge);
  checkMode(root, name);
  if (OWN_BRIDGE.includes(modeOf(root)) && find(root, "mac") === undefined)
    root.children.push(element("mac", { address: chance.mac() }));
  orderNetwork(root);
  return root;
}

/** What a start adds: the ports that translated connections get (networkStartNetworkVirtual). */
export function withPorts(root: Element): Element {
  const forward = find(root, "forward");
  if (forward !== undefined && modeOf(root) === "nat" && find(forward, "nat") === undefined)
    forward.children.unshift(element("nat", {}, [element("port", { start: 1024, end: 65_535 })]));
  return root;
}

/** As text; libvirt gives an <ip> without children two lines. */
export function formatNetwork(root: Element): string {
  return format(root).replaceAll(/^( *)(<ip [^>]*)\/>$/gmu, "$1$2>\n$1</ip>");
}

export function modeOf(root: Element): string {
  return attributeOf(root, "forward", "mode") ?? "none";
}

export function factsOf(root: Element): NetworkFacts {
  return {
    name: textOf(root, "name") ?? "",
    uuid: textOf(root, "uuid") ?? "",
    mode: modeOf(root),
    bridge: attributeOf(root, "bridge", "name"),
    subnets: elements(root, "ip").flatMap((ip) => subnetOf(Object.fromEntries(ip.attributes), dhcpRange(ip)) ?? []),
  };
}

function dhcpRange(ip: Element): { readonly start: string; readonly end: string } | undefined {
  const range = find(ip, "dhcp", "range");
  const [start, end] = [range?.attributes.get("start"), range?.attributes.get("end")];
  return start === undefined || end === undefined ? undefined : { start, end };
}

function completeForward(root: Element): void {
  const forward = find(root, "forward");
  if (forward === undefined) return;
  const mode = forward.attributes.get("mode") ?? "nat";
  if (mode === "none") return replaceChild(root, "forward", undefined);
  if (!FORWARD_MODES.includes(mode))
    throw networkError(VIR_ERR_CONFIG_UNSUPPORTED, `unknown forwarding type '${mode}'`);
  const { dev, managed } = Object.fromEntries(forward.attributes);
  const children = forward.children.map((child) => (typeof child === "string" ? child : clone(child)));
  const complete = element("forward", { dev, mode, managed }, children);
  if (dev !== undefined && elements(complete, "interface").length === 0)
    complete.children.push(element("interface", { dev }));
  replaceChild(root, "forward", complete);
}

function completeBridge(root: Element, name: string, freeBridge: () => string): void {
  const mode = modeOf(root);
  const bridge = find(root, "bridge");
  const given = Object.fromEntries(bridge?.attributes ?? []);
  if (OWN_BRIDGE.includes(mode)) {
    const { zone, stp = "on", delay = "0", macTableManager } = given;
    const attributes = { name: given["name"] ?? freeBridge(), zone, stp, delay, macTableManager };
    replaceChild(root, "bridge", element("bridge", attributes));
  } else if (bridge !== undefined && mode === "bridge") {
    const { name: bridgeName, macTableManager } = given;
    replaceChild(root, "bridge", element("bridge", { name: bridgeName, macTableManager }));
  } else if (bridge !== undefined) {
    throw networkError(VIR_ERR_XML_ERROR, `bridge name not allowed in ${mode} mode (network '${name}')`);
  }
}

function checkIp(ip: Element, name: string): void {
  const { address, family, netmask, prefix } = Object.fromEntries(ip.attributes);
  if (family === "ipv6" || address?.includes(":") === true) return;
  if (address !== undefined && parseIpv4(address) === undefined)
    throw xmlError(`Invalid address '${address}' in network '${name}'`);
  if (netmask !== undefined && prefix !== undefined)
    throw xmlError(`network '${name}' cannot have both prefix='${prefix}' and a netmask`);
  const subnet = subnetOf(Object.fromEntries(ip.attributes), undefined);
  if (subnet === undefined) return;
  for (const range of elements(find(ip, "dhcp"), "range")) {
    const { start = "", end = "" } = Object.fromEntries(range.attributes);
    const [first, last] = [parseIpv4(start), parseIpv4(end)];
    if (first === undefined || last === undefined) throw xmlError(`Invalid dhcp range in network '${name}'`);
    const outside = !inSubnet(first, subnet) || !inSubnet(last, subnet);
    if (outside || last < first) {
      const why = outside ? `is not entirely within network ${address ?? ""}/${subnet.prefix}` : "is invalid";
      throw new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_NONE, `range ${start} - ${end} ${why}`);
    }
  }
}

/** What a mode can't have. */
function checkMode(root: Element, name: string): void {
  const mode = modeOf(root);
  const subnetCount = elements(root, "ip").length;
  if (OWN_BRIDGE.includes(mode)) {
    if ((mode === "nat" || mode === "route") && subnetCount === 0)
      throw xmlError(`${mode} forwarding requested, but no IP address provided for network '${name}'`);
    return;
  }
  for (const forbidden of ["mac", "ip", "dns", "domain"]) {
    if (find(root, forbidden) === undefined) continue;
    const detail = `Unsupported <${forbidden}> element in network ${name} with forward mode='${mode}'`;
    throw networkError(VIR_ERR_CONFIG_UNSUPPORTED, detail);
  }
}

function place({ name }: Element): number {
  return ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length;
}

/** libvirt 9.0 forgets what it does not know; here it stays, last. */
export function orderNetwork(root: Element): void {
  const ordered = elements(root).toSorted((left, right) => place(left) - place(right));
  root.children.splice(0, root.children.length, ...ordered);
}
