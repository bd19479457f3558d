/** Networks between libvirt's XML (https://libvirt.org/formatnetwork.html, libvirt 9.0) and the port. */
import { checkName } from "@innkeeper/contract/name.ts";
import {
  type NetworkCreate,
  type NetworkForwardMode,
  networkForwardModes,
} from "@innkeeper/contract/resource/network.ts";
import { AppError } from "#core/app-error.ts";
import { readXml } from "#libvirt/read-xml.ts";
import { attribute, childElements, element, elements, formatXml, integer, xml } from "#libvirt/xml.ts";
import type { HostNetworkState } from "#network/port.ts";
import { formatAddress, isInside, networkBounds, parseAddress, parseCidr } from "./ipv4.ts";

type NetworkXml = Pick<HostNetworkState, "forwardMode" | "bridge" | "addresses" | "dhcp">;

export function readNetworkXml(xmlText: string): NetworkXml {
  const root = readXml(xmlText);
  const bridge = attribute(root, "bridge", "name");
  const addresses = childElements(root, "ip").flatMap((ip) => {
    const address = attribute(ip, ".", "address");
    if (address === undefined) return [];
    const prefix = integer(attribute(ip, ".", "prefix")) ?? prefixOfNetmask(attribute(ip, ".", "netmask"), address);
    return [`${address}/${prefix}`];
  });
  return {
    forwardMode: forwardMode(root),
    ...(bridge === undefined ? {} : { bridge }),
    addresses,
    dhcp: elements(root, "ip/dhcp").length > 0,
  };
}

/** No <forward> is an isolated network; <forward/> without a mode is NAT. */
function forwardMode(root: ReturnType<typeof readXml>): NetworkForwardMode {
  const forward = element(root, "forward");
  if (forward === undefined) return "isolated";
  const mode = forward.getAttribute("mode") ?? "nat";
  return networkForwardModes.find((known) => known === mode) ?? "open";
}

/** Without netmask and prefix libvirt takes the address class's (virSocketAddrGetIPPrefix): 8, 16, 24; 64 for IPv6. */
function prefixOfNetmask(netmask: string | undefined, address: string): number {
  if (netmask !== undefined) {
    const bits = parseAddress(netmask);
    return bits === undefined ? 24 : 32 - Math.round(Math.log2(2 ** 32 - bits));
  }
  const first = integer(address.split(".")[0]);
  if (first === undefined || address.includes(":")) return 64;
  return first < 128 ? 8 : first < 192 ? 16 : 24;
}

type NetworkDefinition = Omit<NetworkCreate, "host" | "autostart"> & { readonly uuid?: string };

/** XML of a network to define. invalid_field when a value can't be used. */
export function networkXml(network: NetworkDefinition): string {
  checkNetwork(network);
  const { name, uuid, forwardMode: mode, bridge } = network;
  const cidr = network.address === undefined ? undefined : parseCidr(network.address);
  return formatXml(
    xml(
      "network",
      {},
      xml("name", {}, name),
      uuid === undefined ? undefined : xml("uuid", {}, uuid),
      mode === "isolated" ? undefined : xml("forward", { mode }),
      mode === "bridge" ? xml("bridge", { name: bridge }) : xml("bridge", { stp: "on", delay: 0 }),
      cidr === undefined
        ? undefined
        : xml(
            "ip",
            { address: formatAddress(cidr.address), prefix: cidr.prefix },
            network.dhcp === undefined
              ? undefined
              : xml("dhcp", {}, xml("range", { start: network.dhcp.start, end: network.dhcp.end })),
          ),
    ),
  );
}

/** What of a network can't be, in the user's words; hosts refuse the rest (an address that is in use). */
export function checkNetwork(network: NetworkDefinition): void {
  const wrongName = checkName(network.name);
  if (wrongName !== undefined) throw wrong("name", `name ${wrongName}.`);
  if (network.forwardMode === "bridge") {
    if (network.bridge === undefined) throw wrong("bridge", "bridge is needed: a bridge that the host has.");
    if (network.address !== undefined) throw wrong("address", "address is not for bridge networks: the host has it.");
    if (network.dhcp !== undefined) throw wrong("dhcp", "dhcp is not for bridge networks.");
    return;
  }
  if (network.bridge !== undefined) throw wrong("bridge", "bridge is only for bridge networks.");
  if (network.address === undefined) {
    if (network.forwardMode === "nat") throw wrong("address", "address is needed for a NAT network.");
    if (network.dhcp !== undefined) throw wrong("dhcp", "dhcp needs address.");
    return;
  }
  checkAddress(network.address, network.dhcp);
}

function checkAddress(address: string, dhcp: NetworkCreate["dhcp"]): void {
  const cidr = parseCidr(address);
  if (cidr === undefined || cidr.prefix < 8 || cidr.prefix > 30) {
    throw wrong("address", "address must be an IPv4 address with a prefix length from 8 to 30, e.g. 192.168.150.1/24.");
  }
  const bounds = networkBounds(cidr);
  if (!isInside(cidr.address, bounds)) {
    throw wrong("address", `address must be one for the host, not ${address}: that names the network itself.`);
  }
  const firstByte = Math.floor(cidr.address / 2 ** 24);
  if (firstByte === 0 || firstByte === 127 || firstByte >= 224) {
    throw wrong("address", "address must not be loopback, multicast or reserved.");
  }
  if (dhcp === undefined) return;
  const start = parseAddress(dhcp.start);
  const end = parseAddress(dhcp.end);
  if (start === undefined || !isInside(start, bounds)) throw wrong("dhcp.start", "dhcp.start must be in the network.");
  if (end === undefined || !isInside(end, bounds)) throw wrong("dhcp.end", "dhcp.end must be in the network.");
  if (end < start) throw wrong("dhcp.end", "dhcp.end must not be before dhcp.start.");
  if (start <= cidr.address && cidr.address <= end) {
    throw wrong("dhcp", `dhcp must leave out the host's own address ${formatAddress(cidr.address)}.`);
  }
}

function wrong(field: string, message: string): AppError {
  return new AppError("invalid_field", message, { field });
}
