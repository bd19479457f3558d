// What is asked of a guest through its agent, and where a guest's addresses are known from (libvirt 9.0
// qemuDomainInterfaceAddresses, qemuDomainGetGuestInfo, qemuDomainFSFreeze in src/qemu/qemu_driver.c).
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import { VIR_IP_ADDR_TYPE_IPV4 } from "@innkeeper/libvirt/generated/network-constant.ts";
import { typed } from "@innkeeper/libvirt";
import type { TypedParameterInput } from "@innkeeper/libvirt";
import { VIR_ERR_ARGUMENT_UNSUPPORTED } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { agentError, requireAgent } from "#host/agent/agent.ts";
import { cardsOf, fileSystemsOf, hostNameOf, SYSTEM } from "#host/agent/guest-system.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import { formatIpv4 } from "#host/network/ipv4.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";

interface Interface {
  readonly name: string;
  readonly hwaddr: string | null;
  readonly addrs: readonly { readonly type: number; readonly addr: string; readonly prefix: number }[];
}

const ipv4 = (addr: string, prefix: number) => ({ type: VIR_IP_ADDR_TYPE_IPV4, addr, prefix });

function interfaces(host: SimHost, domain: SimDomain, source: number): Interface[] {
  const nowMs = host.clock.nowMs();
  switch (source) {
    case lv.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE:
      return domain.facts.nics.flatMap(({ mac, type, source: name, device }, index) => {
        const network = type === "network" && name !== undefined ? host.networks.find(name) : undefined;
        if (network === undefined) return [];
        const leases = network.leases(host.networks.guestsOn(network), nowMs).filter((lease) => lease.mac === mac);
        const vnet = device ?? `vnet${(domain.run?.firstVnet ?? 0) + index}`;
        if (leases.length === 0) return [];
        return [
          { name: vnet, hwaddr: mac, addrs: leases.map((lease) => ipv4(formatIpv4(lease.address), lease.prefix)) },
        ];
      });
    case lv.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT: {
      requireAgent(domain);
      const loopback = { name: "lo", hwaddr: "00:00:00:00:00:00", addrs: [ipv4("127.0.0.1", 8)] };
      const cards = cardsOf(domain, host.networks, nowMs);
      return [
        loopback,
        ...cards.map(({ name, mac, address, prefix }) => ({ name, hwaddr: mac, addrs: [ipv4(address, prefix)] })),
      ];
    }
    case lv.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP:
      return domain.state === lv.VIR_DOMAIN_RUNNING
        ? cardsOf(domain, host.networks, nowMs).map(({ mac, address }, index) => ({
            name: domain.facts.nics[index]?.device ?? `vnet${(domain.run?.firstVnet ?? 0) + index}`,
            hwaddr: mac,
            addrs: [ipv4(address, 0)],
          }))
        : [];
    default:
      throw agentError(VIR_ERR_ARGUMENT_UNSUPPORTED, `Unknown IP address data source ${source}`);
  }
}

function guestInfo(host: SimHost, domain: SimDomain, types: number): TypedParameterInput {
  const wants = (type: number): boolean => types === 0 || (types & type) !== 0;
  const params: Record<string, ReturnType<typeof typed.string>> = {};
  if (wants(lv.VIR_DOMAIN_GUEST_INFO_USERS)) params["user.count"] = typed.uint(0);
  if (wants(lv.VIR_DOMAIN_GUEST_INFO_OS))
    for (const [key, value] of Object.entries(SYSTEM)) params[`os.${key}`] = typed.string(value);
  if (wants(lv.VIR_DOMAIN_GUEST_INFO_TIMEZONE)) {
    params["timezone.name"] = typed.string("UTC");
    params["timezone.offset"] = typed.int(0);
  }
  if (wants(lv.VIR_DOMAIN_GUEST_INFO_HOSTNAME)) params["hostname"] = typed.string(hostNameOf(domain));
  if (wants(lv.VIR_DOMAIN_GUEST_INFO_FILESYSTEM)) {
    const all = fileSystemsOf(domain, host);
    params["fs.count"] = typed.uint(all.length);
    for (const [index, each] of all.entries()) {
      const at = `fs.${index}`;
      params[`${at}.name`] = typed.string(each.name);
      params[`${at}.mountpoint`] = typed.string(each.mountPoint);
      params[`${at}.fstype`] = typed.string(each.type);
      params[`${at}.total-bytes`] = typed.ullong(each.totalBytes);
      params[`${at}.used-bytes`] = typed.ullong(each.usedBytes);
      params[`${at}.disk.count`] = typed.uint(1);
      params[`${at}.disk.0.alias`] = typed.string(each.target);
      params[`${at}.disk.0.device`] = typed.string(`/dev/${each.name}`);
    }
  }
  if ((types & lv.VIR_DOMAIN_GUEST_INFO_INTERFACES) !== 0) {
    const cards = cardsOf(domain, host.networks, host.clock.nowMs());
    params["if.count"] = typed.uint(cards.length);
    for (const [index, { name, mac, address, prefix }] of cards.entries()) {
      params[`if.${index}.name`] = typed.string(name);
      params[`if.${index}.hwaddr`] = typed.string(mac);
      params[`if.${index}.addr.count`] = typed.uint(1);
      params[`if.${index}.addr.0.type`] = typed.string("ipv4");
      params[`if.${index}.addr.0.addr`] = typed.string(address);
      params[`if.${index}.addr.0.prefix`] = typed.uint(prefix);
    }
  }
  return params;
}

type DomainRef = Parameters<SimHost["domains"]["require"]>[0];

function withAgent(host: SimHost, dom: DomainRef): SimDomain {
  const domain = host.domains.require(dom);
  requireAgent(domain);
  return domain;
}

export const agentProcedures: Procedures = {
  qemu: {
    domainAgentCommand: (host, { dom, cmd }) => ({ result: host.agents.command(host.domains.require(dom), cmd) }),
  },
  remote: {
    domainInterfaceAddresses: (host, { dom, source }) => {
      const domain = host.domains.require(dom);
      domain.requireActive();
      return { ifaces: interfaces(host, domain, source) };
    },
    domainGetGuestInfo: (host, { dom, types }) => ({ params: guestInfo(host, withAgent(host, dom), types) }),
    domainGetHostname: (host, { dom }) => ({ hostname: hostNameOf(withAgent(host, dom)) }),
    domainFsfreeze: (host, { dom }) => ({ filesystems: host.agents.freeze(host.domains.require(dom)) }),
    domainFsthaw: (host, { dom }) => ({ filesystems: host.agents.thaw(host.domains.require(dom)) }),
    domainFstrim: (host, { dom }) => void withAgent(host, dom),
    domainGetTime: (host, { dom }) => {
      const nowMs = host.agents.timeMs(host.domains.require(dom));
      return { seconds: BigInt(Math.floor(nowMs / 1000)), nseconds: (nowMs % 1000) * 1_000_000 };
    },
    domainSetTime: (host, { dom, seconds, nseconds, flags }) => {
      const timeMs = Number(seconds) * 1_000 + Math.floor(nseconds / 1_000_000);
      const isSync = (flags & lv.VIR_DOMAIN_TIME_SYNC) !== 0;
      host.agents.setTime(host.domains.require(dom), isSync ? null : timeMs);
    },
    domainSetUserPassword: (host, { dom, user, password, flags }) => {
      const isCrypted = (flags & lv.VIR_DOMAIN_PASSWORD_ENCRYPTED) !== 0;
      host.agents.setPassword(host.domains.require(dom), user ?? "", password ?? "", isCrypted);
    },
    domainAgentSetResponseTimeout: (host, { dom }) => {
      host.domains.require(dom);
      return { result: 0 };
    },
    domainGetFsinfo: (host, { dom }) => {
      const info = fileSystemsOf(withAgent(host, dom), host).map(({ mountPoint, name, type, target }) => ({
        mountpoint: mountPoint,
        name,
        fstype: type,
        devAliases: [target],
      }));
      return { info, ret: info.length };
    },
  },
};
