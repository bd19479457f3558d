/**
 * Network cards of a request, resolved for a host: every card has a MAC address that no other VM has. MACs are chosen
 * once, in an operation's first step. 52:54:00 is QEMU's prefix, as virt-manager and libvirt use it.
 */
import { randomBytes } from "node:crypto";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { VmNic, VmNicCreate } from "@innkeeper/contract/resource/vm-spec.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { refuse, refuseDuplicates } from "./field-check.ts";
import type { Problem } from "./hardware-check.ts";

/** Throws for what is wrong on any host. `field` is where the cards are in the request: nics, nicsAdd. */
export function checkNics(inventory: Inventory, nics: readonly VmNicCreate[], field = "nics"): void {
  for (const [index, nic] of nics.entries()) {
    if ((nic.network === undefined) === (nic.bridge === undefined)) {
      refuse(`${field}[${index}]`, "A network card needs exactly one of network and bridge.");
    }
  }
  checkMacs(
    inventory,
    nics.flatMap(({ mac }, index) => (mac === undefined ? [] : [{ mac, field: `${field}[${index}].mac` }])),
  );
}

/** Of cards that are new, or get another address. */
export function checkMacs(
  inventory: Inventory,
  macs: readonly { readonly mac: string; readonly field: string }[],
): void {
  for (const { mac, field } of macs) checkMac(inventory, mac, field);
  refuseDuplicates(
    macs.map(({ mac }) => mac.toLowerCase()),
    (index) => macs[index]?.field ?? "",
    (mac) => `MAC address ${mac}`,
  );
}

function checkMac(inventory: Inventory, mac: string, field: string): void {
  const first = Number.parseInt(mac.slice(0, 2), 16);
  if ((first & 1) === 1) refuse(field, `${mac} is a multicast address; a network card needs a unicast one.`);
  if (/^00(:00){5}$/.test(mac)) refuse(field, "The MAC address must not be all zeroes.");
  const owner = inventory
    .list("vm")
    .find((vm) => vm.spec.nics.some((nic) => nic.mac.toLowerCase() === mac.toLowerCase()));
  if (owner !== undefined) refuse(field, `MAC address ${mac} is already VM ${owner.name}'s.`, "conflict");
}

/** Networks that this host lacks. */
export function nicProblems(
  inventory: Inventory,
  host: Host,
  nics: readonly Pick<VmNicCreate, "network">[],
  field = "nics",
): Problem[] {
  const networks = inventory.byHost("network", host.id);
  return nics.flatMap(({ network }, index): Problem[] => {
    if (network === undefined) return [];
    const found = networks.find((each) => each.name === network);
    const at = `${field}[${index}].network`;
    if (found === undefined) {
      return [{ code: "not_found", field: at, message: `Host ${host.name} has no network ${network}.` }];
    }
    if (found.active) return [];
    return [{ code: "invalid_state", field: at, message: `Network ${network} of host ${host.name} is not active.` }];
  });
}

export function planNics(inventory: Inventory, nics: readonly VmNicCreate[]): VmNic[] {
  const used = new Set(inventory.list("vm").flatMap((vm) => vm.spec.nics.map((nic) => nic.mac.toLowerCase())));
  return nics.map(({ network, bridge, mac, model, ...rest }) => {
    const chosen = mac?.toLowerCase() ?? newMac(used);
    used.add(chosen);
    const attached =
      bridge === undefined
        ? { type: "network", ...(network === undefined ? {} : { network }) }
        : { type: "bridge", network: bridge };
    return { mac: chosen, ...attached, model: model ?? "virtio", ...rest };
  });
}

function newMac(used: ReadonlySet<string>): string {
  for (;;) {
    const tail = Array.from(randomBytes(3), (byte) => byte.toString(16).padStart(2, "0")).join(":");
    const mac = `52:54:00:${tail}`;
    if (!used.has(mac)) return mac;
  }
}
