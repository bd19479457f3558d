/**
 * The lab's network: one flat Ethernet segment on a bridge inside the lab's switch node. Hosts, guests and the machine
 * that runs the lab are on it; guests get addresses from a dnsmasq on the switch, so they keep them when they move to
 * another host. Invariants: two labs never get the same subnet; in the root namespace a lab owns exactly one interface,
 * whose name follows from the lab's folder. The bridge is not in the root namespace, where a packet filter of the
 * machine's owner could stop it.
 * Facts: ip-link(8), dnsmasq(8).
 */
import { existsSync } from "node:fs";
import { run } from "#command.ts";
import type { LabLayout } from "#layout.ts";
import { machineLock } from "#machine-lock.ts";
import { runInNode } from "#namespace.ts";

/** Which address is whose in the lab's subnet 10.77.<subnet>.0/24. */
interface LabNetwork {
  readonly subnet: number;
}

export const maxHostCount = 60;
const prefixLength = 24;
const dhcpFirst = 100;
const dhcpLast = 250;
const lockTimeoutMs = 30_000;
export const bridgeName = "br0";

function rootAddress(network: LabNetwork): string {
  return address(network, 1);
}

function switchAddress(network: LabNetwork): string {
  return address(network, 2);
}

/** `index` counts from 0. */
export function hostAddress(network: LabNetwork, index: number): string {
  return address(network, 11 + index);
}

function address(network: LabNetwork, last: number): string {
  return `10.77.${network.subnet}.${last}`;
}

/**
 * Makes the lab's interface in the root namespace, with the lab's folder as its alias, its other end on the switch, with an address in a subnet that no
 * interface of this machine has. A lock that dies with its holder covers the choice.
 */
export async function connectRoot(
  { interfaceName, folder }: LabLayout,
  switchPid: number,
  signal: AbortSignal | undefined,
): Promise<LabNetwork> {
  using _lock = await machineLock("lab-subnet", { signal, timeoutMs: lockTimeoutMs });
  const network = { subnet: await freeSubnet(signal) };
  await deleteInterface(interfaceName, signal);
  const link = ["link", "add", interfaceName, "type", "veth", "peer", "name", "root", "netns", String(switchPid)];
  await run(["ip", ...link], { signal });
  await run(["ip", "address", "add", `${rootAddress(network)}/${prefixLength}`, "dev", interfaceName], { signal });
  await run(["ip", "link", "set", interfaceName, "alias", folder, "up"], { signal });
  return network;
}

/** Asks ip(8): os.networkInterfaces() leaves out interfaces whose other end is not up yet. */
async function freeSubnet(signal: AbortSignal | undefined): Promise<number> {
  const { stdout: used } = await run(["ip", "-4", "-oneline", "address", "show"], { signal });
  for (let subnet = 0; subnet <= 255; subnet += 1) {
    if (!used.includes(` 10.77.${subnet}.`)) return subnet;
  }
  throw new Error("no subnet of 10.77.0.0/16 is free: remove some labs");
}

export async function deleteInterface(interfaceName: string, signal: AbortSignal | undefined): Promise<void> {
  if (networkInterfaceExists(interfaceName)) {
    // It may vanish by itself at this moment: its other end's namespace is gone.
    await run(["ip", "link", "delete", interfaceName], { signal }).catch((error: unknown) => {
      if (networkInterfaceExists(interfaceName)) throw error;
    });
  }
}

function networkInterfaceExists(interfaceName: string): boolean {
  return existsSync(`/sys/class/net/${interfaceName}`);
}

/** Bridge, address and DHCP server on the switch. */
export async function configureSwitch(
  pid: number,
  network: LabNetwork,
  signal: AbortSignal | undefined,
): Promise<void> {
  const own = switchAddress(network);
  await ipBatch(pid, signal, [
    "link set lo up",
    `link add ${bridgeName} type bridge forward_delay 0 stp_state 0`,
    `address add ${own}/${prefixLength} dev ${bridgeName}`,
    `link set root master ${bridgeName} up`,
    `link set ${bridgeName} up`,
  ]);
  const range = `${address(network, dhcpFirst)},${address(network, dhcpLast)},255.255.255.0,1h`;
  const server = [
    "dnsmasq",
    "--conf-file=/dev/null",
    "--port=0",
    "--bind-interfaces",
    "--no-ping",
    "--dhcp-authoritative",
  ];
  const files = ["--user=root", "--pid-file=/run/dnsmasq.pid", "--dhcp-leasefile=/run/dnsmasq.leases"];
  // No router (option 3): nothing in the lab leads out.
  const dhcp = [`--interface=${bridgeName}`, `--dhcp-range=${range}`, "--dhcp-option=3", "--dhcp-option=6"];
  await runInNode(pid, [...server, ...files, ...dhcp], { signal });
}

/** Plugs the host into the switch: its br0 has the host's address and is where guests of the network `lab` are. */
export async function connectHost(
  host: { readonly pid: number; readonly name: string; readonly address: string },
  switchPid: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  await disconnectHost(host.name, switchPid, signal);
  await ipBatch(switchPid, signal, [
    `link add ${host.name} type veth peer name eth0 address ${hardwareAddress(host.address)} netns ${host.pid}`,
    `link set ${host.name} master ${bridgeName} up`,
  ]);
  await ipBatch(host.pid, signal, [
    "link set lo up",
    `link add ${bridgeName} type bridge forward_delay 0 stp_state 0`,
    `link set eth0 master ${bridgeName} up`,
    `address add ${host.address}/${prefixLength} dev ${bridgeName}`,
    `link set ${bridgeName} up`,
  ]);
}

/** The same each time the host starts, as a real card's, or its peers would talk to a dead one until ARP forgets it. */
function hardwareAddress(ipAddress: string): string {
  const bytes = ipAddress.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
  // 02: locally administered, unicast (IEEE 802 §8.2)
  return ["02", "00", ...bytes].join(":");
}

/** Removes the host's port from the switch, which a crashed host leaves for a moment. */
async function disconnectHost(hostName: string, switchPid: number, signal: AbortSignal | undefined): Promise<void> {
  const ports = await runOnSwitch(switchPid, ["-json", "link", "show"], signal);
  if (ports.includes(`"ifname":"${hostName}"`)) {
    await runOnSwitch(switchPid, ["link", "delete", hostName], signal).catch(() => undefined);
  }
}

/** A host's cable: pulled out (down) or put back (up). */
export async function setHostLink(
  hostName: string,
  switchPid: number,
  state: "up" | "down",
  signal: AbortSignal | undefined,
): Promise<void> {
  await runOnSwitch(switchPid, ["link", "set", hostName, state], signal);
}

async function runOnSwitch(pid: number, args: readonly string[], signal: AbortSignal | undefined): Promise<string> {
  // Only the network namespace is entered: `netns PID` counts processes as the root namespace does.
  return (await run(["nsenter", "--target", String(pid), "--net", "--", "ip", ...args], { signal })).stdout;
}

async function ipBatch(pid: number, signal: AbortSignal | undefined, lines: readonly string[]): Promise<void> {
  const argv = ["nsenter", "--target", String(pid), "--net", "--", "ip", "-batch", "-"];
  await run(argv, { signal, input: `${lines.join("\n")}\n` });
}
