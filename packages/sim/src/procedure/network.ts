// Networks (libvirt 9.0 src/network/bridge_driver.c; filters of virNetworkObjListExport).
import {
  VIR_CONNECT_LIST_NETWORKS_ACTIVE,
  VIR_CONNECT_LIST_NETWORKS_AUTOSTART,
  VIR_CONNECT_LIST_NETWORKS_INACTIVE,
  VIR_CONNECT_LIST_NETWORKS_NO_AUTOSTART,
  VIR_CONNECT_LIST_NETWORKS_PERSISTENT,
  VIR_CONNECT_LIST_NETWORKS_TRANSIENT,
  VIR_IP_ADDR_TYPE_IPV4,
  VIR_NETWORK_XML_INACTIVE,
} from "@innkeeper/libvirt/generated/network-constant.ts";
import { VIR_ERR_INTERNAL_ERROR, VIR_ERR_INVALID_MAC } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { formatIpv4 } from "#host/network/ipv4.ts";
import { networkError } from "#host/network/network-definition.ts";
import type { Network } from "#host/network/network.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";

interface Handle {
  readonly name: string;
  readonly uuid: string;
}

const networkOf = (host: SimHost, { net }: { readonly net: Handle }): Network =>
  host.networks.byUuid(net.uuid, net.name);
const handleOf = ({ name, uuid }: Network): Handle => ({ name, uuid });

/** Pairs of flags of which one must be met, when one is given. */
const FILTERS: readonly (readonly [yes: number, no: number, is: (network: Network) => boolean])[] = [
  [VIR_CONNECT_LIST_NETWORKS_ACTIVE, VIR_CONNECT_LIST_NETWORKS_INACTIVE, (network) => network.isActive],
  [VIR_CONNECT_LIST_NETWORKS_PERSISTENT, VIR_CONNECT_LIST_NETWORKS_TRANSIENT, (network) => network.isPersistent],
  [VIR_CONNECT_LIST_NETWORKS_AUTOSTART, VIR_CONNECT_LIST_NETWORKS_NO_AUTOSTART, (network) => network.isAutostart],
];

function isWanted(network: Network, flags: number): boolean {
  return FILTERS.every(([yes, no, is]) => {
    const asked = flags & (yes | no);
    return asked === 0 || (asked & (is(network) ? yes : no)) !== 0;
  });
}

function names({ networks }: SimHost, isActive: boolean): string[] {
  return networks.all.filter((network) => network.isActive === isActive).map((network) => network.name);
}

const MAC = /^(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2}$/iu;

export const networkProcedures: Procedures = {
  remote: {
    connectListAllNetworks: ({ networks }, { needResults, flags = 0 }) => {
      const wanted = networks.all.filter((network) => isWanted(network, flags)).map(handleOf);
      return { nets: needResults === 0 ? [] : wanted, ret: wanted.length };
    },
    connectNumOfNetworks: (host) => ({ num: names(host, true).length }),
    connectListNetworks: (host, { maxnames }) => ({ names: names(host, true).slice(0, maxnames) }),
    connectNumOfDefinedNetworks: (host) => ({ num: names(host, false).length }),
    connectListDefinedNetworks: (host, { maxnames }) => ({ names: names(host, false).slice(0, maxnames) }),
    networkLookupByName: ({ networks }, { name }) => ({ net: handleOf(networks.byName(name)) }),
    networkLookupByUuid: ({ networks }, { uuid }) => ({ net: handleOf(networks.byUuid(uuid)) }),
    networkDefineXml: ({ networks }, { xml }) => ({ net: handleOf(networks.define(xml)) }),
    networkDefineXmlFlags: ({ networks }, { xml }) => ({ net: handleOf(networks.define(xml)) }),
    networkCreateXml: ({ networks }, { xml }) => ({ net: handleOf(networks.create(xml)) }),
    networkCreateXmlFlags: ({ networks }, { xml }) => ({ net: handleOf(networks.create(xml)) }),
    networkCreate: (host, args) => host.networks.start(networkOf(host, args)),
    networkDestroy: (host, args) => host.networks.destroy(networkOf(host, args)),
    networkUndefine: (host, args) => host.networks.undefine(networkOf(host, args)),
    networkUpdate: (host, { net, flags, ...update }) =>
      host.networks.update(networkOf(host, { net }), update, flags ?? 0),
    networkGetXmlDesc: (host, args) => {
      const network = networkOf(host, args);
      const isNext = ((args.flags ?? 0) & VIR_NETWORK_XML_INACTIVE) !== 0;
      return { xml: network.xml(isNext, host.networks.guestsOn(network).length) };
    },
    networkGetBridgeName: (host, args) => {
      const network = networkOf(host, args);
      const { bridge } = network.facts;
      if (bridge === undefined)
        throw networkError(VIR_ERR_INTERNAL_ERROR, `network '${network.name}' does not have a bridge name.`);
      return { name: bridge };
    },
    networkGetAutostart: (host, args) => ({ autostart: networkOf(host, args).isAutostart ? 1 : 0 }),
    networkSetAutostart: (host, args) => host.networks.setAutostart(networkOf(host, args), args.autostart !== 0),
    networkIsActive: (host, args) => ({ active: networkOf(host, args).isActive ? 1 : 0 }),
    networkIsPersistent: (host, args) => ({ persistent: networkOf(host, args).isPersistent ? 1 : 0 }),
    networkGetDhcpLeases: (host, args) => {
      const { mac = null } = args;
      if (mac !== null && !MAC.test(mac)) throw networkError(VIR_ERR_INVALID_MAC, mac);
      const network = networkOf(host, args);
      const leases = network
        .leases(host.networks.guestsOn(network), host.clock.nowMs())
        .filter((lease) => mac === null || lease.mac === mac.toLowerCase())
        .map((lease) => ({
          iface: network.facts.bridge ?? "",
          expirytime: BigInt(lease.expiresS),
          type: VIR_IP_ADDR_TYPE_IPV4,
          mac: lease.mac,
          iaid: null,
          ipaddr: formatIpv4(lease.address),
          prefix: lease.prefix,
          hostname: lease.hostname,
          clientid: null,
        }));
      return { leases: args.needResults === 0 ? [] : leases, ret: leases.length };
    },
    networkListAllPorts: (host, args) => {
      networkOf(host, { net: args.network }).requireActive();
      return { ports: [], ret: 0 };
    },
  },
};
