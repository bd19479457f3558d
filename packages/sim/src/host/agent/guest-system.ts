// The system inside a simulated guest, as its agent tells of it: a Debian 12 that is named after its domain.
import type { HostContext } from "#host/context.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import { formatIpv4 } from "#host/network/ipv4.ts";
import type { Networks } from "#host/network/networks.ts";
import { hash } from "#host/random.ts";

export interface GuestCard {
  readonly name: string;
  readonly mac: string;
  readonly address: string;
  readonly prefix: number;
}

/** /etc/os-release and uname of Debian 12. */
export const SYSTEM = {
  id: "debian",
  name: "Debian GNU/Linux",
  "pretty-name": "Debian GNU/Linux 12 (bookworm)",
  version: "12 (bookworm)",
  "version-id": "12",
  "kernel-release": "6.1.0-28-amd64",
  "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)",
  machine: "x86_64",
} as const;

/** Host names have no dots, spaces or capitals. */
export function hostNameOf({ name }: SimDomain): string {
  return (
    name
      .toLowerCase()
      .replaceAll(/[^a-z0-9-]+/gu, "-")
      .replaceAll(/^-+|-+$/gu, "") || "localhost"
  );
}

/** Of a network with DHCP the address that it gave out; elsewhere one that stays the same for a MAC address. */
export function cardsOf(domain: SimDomain, networks: Networks, nowMs: number): GuestCard[] {
  return domain.facts.nics.map(({ mac, type, source }, index) => {
    const name = `enp${index + 1}s0`;
    const network = type === "network" && source !== undefined ? networks.find(source) : undefined;
    const lease = network?.leases(networks.guestsOn(network), nowMs).find((each) => each.mac === mac);
    if (lease !== undefined) return { name, mac, address: formatIpv4(lease.address), prefix: lease.prefix };
    // 10.128.0.0/9, by MAC address.
    const address = 10 * 2 ** 24 + 2 ** 23 + (hash(mac) % (2 ** 23 - 2)) + 1;
    return { name, mac, address: formatIpv4(address), prefix: 9 };
  });
}

export interface GuestDisk {
  readonly mountPoint: string;
  readonly name: string;
  readonly type: string;
  readonly totalBytes: number;
  readonly usedBytes: number;
  readonly target: string;
}

/** One file system a disk. */
export function fileSystemsOf(domain: SimDomain, { disks }: HostContext): GuestDisk[] {
  return domain.facts.disks
    .filter(({ device, source }) => device === "disk" && source !== undefined)
    .map(({ target, source }, index) => {
      const image = source === undefined ? undefined : disks.find(source);
      const totalBytes = Math.floor((image?.capacityBytes ?? 0) * 0.97);
      return {
        mountPoint: index === 0 ? "/" : `/data${index === 1 ? "" : index}`,
        name: `${target}1`,
        type: "ext4",
        totalBytes,
        usedBytes: Math.min(totalBytes, image?.allocationBytes ?? 0),
        target,
      };
    });
}
