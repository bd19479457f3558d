/** Calls that read a domain. */
import { type NonnullDomain, VIR_DOMAIN_XML_INACTIVE, VIR_DOMAIN_XML_SECURE } from "@innkeeper/libvirt";
import { type ComparedCall, named } from "./compared-call.ts";

export const domainReads: readonly ComparedCall<NonnullDomain>[] = [
  {
    procedure: "domainGetXmlDesc",
    ours: async (remote, dom) => (await remote.domainGetXmlDesc({ dom })).xml,
    python: "o.XMLDesc()",
  },
  {
    procedure: "domainGetXmlDesc",
    ours: async (remote, dom) =>
      (await remote.domainGetXmlDesc({ dom, flags: VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE })).xml,
    python: "o.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)",
  },
  {
    procedure: "domainLookupByUuid",
    ours: async (remote, { uuid }) => named((await remote.domainLookupByUuid({ uuid })).dom),
    python: "c.lookupByUUIDString(o.UUIDString())",
  },
  {
    procedure: "domainGetState",
    ours: async (remote, dom) => {
      const { state, reason } = await remote.domainGetState({ dom });
      return [state, reason];
    },
    python: "o.state()",
  },
  {
    procedure: "domainIsActive",
    ours: async (remote, dom) => (await remote.domainIsActive({ dom })).active,
    python: "o.isActive()",
  },
  {
    procedure: "domainIsPersistent",
    ours: async (remote, dom) => (await remote.domainIsPersistent({ dom })).persistent,
    python: "o.isPersistent()",
  },
  {
    procedure: "domainHasManagedSaveImage",
    ours: async (remote, dom) => (await remote.domainHasManagedSaveImage({ dom })).result,
    python: "o.hasManagedSaveImage()",
  },
  {
    procedure: "domainGetAutostart",
    ours: async (remote, dom) => (await remote.domainGetAutostart({ dom })).autostart,
    python: "o.autostart()",
  },
  {
    procedure: "domainGetBlockInfo",
    ours: async (remote, dom) => {
      const { capacity, allocation, physical } = await remote.domainGetBlockInfo({ dom, path: "vda" });
      return [capacity, allocation, physical];
    },
    python: "o.blockInfo('vda')",
  },
  {
    procedure: "domainGetBlockInfo",
    ours: (remote, dom) => remote.domainGetBlockInfo({ dom, path: "vdz" }),
    python: "o.blockInfo('vdz')",
  },
  {
    procedure: "domainGetBlockJobInfo",
    ours: async (remote, dom) => {
      const { found, ...job } = await remote.domainGetBlockJobInfo({ dom, path: "vda" });
      return found === 0 ? {} : job;
    },
    python: "o.blockJobInfo('vda')",
  },
  {
    procedure: "domainGetControlInfo",
    // The struct's members, in order, are the list.
    ours: async (remote, dom) => Object.values(await remote.domainGetControlInfo({ dom })),
    python: "o.controlInfo()",
  },
  {
    procedure: "domainGetDiskErrors",
    ours: async (remote, dom) =>
      Object.fromEntries(
        (await remote.domainGetDiskErrors({ dom, maxerrors: 16 })).errors.map(({ disk, error }) => [disk, error]),
      ),
    python: "o.diskErrors()",
  },
  {
    procedure: "domainGetJobInfo",
    // The struct's members, in order, are the list.
    ours: async (remote, dom) => Object.values(await remote.domainGetJobInfo({ dom })),
    python: "o.jobInfo()",
  },
  {
    procedure: "domainGetJobStats",
    ours: async (remote, dom) => {
      const { type, params } = await remote.domainGetJobStats({ dom });
      return { type, ...params };
    },
    python: "o.jobStats()",
  },
  {
    procedure: "domainGetSchedulerParametersFlags",
    ours: async (remote, dom) => (await remote.domainGetSchedulerParametersFlags({ dom, nparams: 16 })).params,
    python: "o.schedulerParametersFlags(0)",
  },
  {
    procedure: "domainGetGuestInfo",
    ours: async (remote, dom) => (await remote.domainGetGuestInfo({ dom, types: 0 })).params,
    python: "o.guestInfo()",
  },
  // From libvirt's DHCP server, and from the guest's agent.
  ...[0, 1].map((source): ComparedCall<NonnullDomain> => ({
    procedure: "domainInterfaceAddresses",
    ours: async (remote, dom) =>
      Object.fromEntries(
        (await remote.domainInterfaceAddresses({ dom, source })).ifaces.map(({ name, hwaddr, addrs }) => [
          name,
          {
            addrs:
              addrs.length === 0
                ? null
                : addrs.map((each) => ({ addr: each.addr, prefix: each.prefix, type: each.type })),
            hwaddr,
          },
        ]),
      ),
    python: `o.interfaceAddresses(${source})`,
  })),
  {
    procedure: "domainListAllSnapshots",
    ours: async (remote, dom) =>
      (await remote.domainListAllSnapshots({ dom, needResults: 1 })).snapshots.map(({ name }) => name),
    python: "o.listAllSnapshots()",
  },
  {
    procedure: "domainSnapshotNum",
    ours: async (remote, dom) => (await remote.domainSnapshotNum({ dom })).num,
    python: "o.snapshotNum()",
  },
  {
    procedure: "domainSnapshotCurrent",
    ours: async (remote, dom) => (await remote.domainSnapshotCurrent({ dom })).snap.name,
    python: "o.snapshotCurrent()",
  },
  {
    procedure: "domainSnapshotLookupByName",
    ours: async (remote, dom) => (await remote.domainSnapshotLookupByName({ dom, name: "none" })).snap.name,
    python: "o.snapshotLookupByName('none')",
  },
  {
    procedure: "domainListAllCheckpoints",
    ours: async (remote, dom) =>
      (await remote.domainListAllCheckpoints({ dom, needResults: 1 })).checkpoints.map(({ name }) => name),
    python: "o.listAllCheckpoints()",
  },
  {
    procedure: "domainMonitorCommand",
    // Each answer has a number of its own.
    ours: async (_remote, dom, connection) =>
      JSON.parse((await connection.qemu.domainMonitorCommand({ dom, cmd: '{"execute":"query-yank"}' })).result).return,
    python: "monitor(o, execute='query-yank')",
  },
];
