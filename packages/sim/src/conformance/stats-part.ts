// Counters: which there are, in what order, of what type. What they count is the guest's.
import * as lv from "@innkeeper/libvirt";
import type { ConformancePart } from "./transcript.ts";

const XML = (
  folder: string,
): string => `<domain type='qemu'><name>counted</name><memory unit='MiB'>64</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${folder}/a.qcow2'/><target dev='vda' bus='virtio'/></disk>
<memballoon model='virtio'><stats period='5'/></memballoon></devices></domain>`;

const GROUPS =
  lv.VIR_DOMAIN_STATS_STATE |
  lv.VIR_DOMAIN_STATS_CPU_TOTAL |
  lv.VIR_DOMAIN_STATS_BALLOON |
  lv.VIR_DOMAIN_STATS_VCPU |
  lv.VIR_DOMAIN_STATS_INTERFACE |
  lv.VIR_DOMAIN_STATS_BLOCK;

/** Not on every host: they need resctrl or haltpoll, or a guest with a balloon driver. */
const OPTIONAL = /^cpu\.(?:cache|haltpoll)|^balloon\.(?!current|maximum|last-update|rss)/u;

function shape(params: Readonly<Record<string, unknown>>): string {
  return Object.entries(params)
    .filter(([name]) => !OPTIONAL.test(name))
    .map(([name, value]) => `${name}:${typeof value}`)
    .join(" ");
}

export const statsPart: ConformancePart = {
  name: "stats",
  run: async (t) => {
    const { remote } = t.connection;
    const { dom } = await remote.domainDefineXml({ xml: XML(t.folder) });
    const all = (flags: number) => remote.connectGetAllDomainStats({ doms: [], stats: GROUPS, flags });
    await t.call("none runs", all(lv.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE));
    await t.call("memory of what is off", remote.domainMemoryStats({ dom, maxStats: 20 }));
    await t.call("blocks of what is off", remote.domainBlockStatsFlags({ dom, path: "vda", nparams: 16 }));
    await t.call("start", remote.domainCreate({ dom }));
    await t.call("running", all(0), ({ retStats }) =>
      retStats.map(({ dom: { name }, params }) => [name, shape(params)]),
    );
    await t.call(
      "of one",
      remote.connectGetAllDomainStats({ doms: [dom], stats: lv.VIR_DOMAIN_STATS_STATE, flags: 0 }),
    );
    await t.call("memory", remote.domainMemoryStats({ dom, maxStats: 20 }), ({ stats }) =>
      stats.some(({ tag }) => tag === 7),
    );
    await t.call("blocks", remote.domainBlockStatsFlags({ dom, path: "vda", nparams: 16 }), ({ params }) =>
      shape(params),
    );
    await t.call("no such disk", remote.domainBlockStatsFlags({ dom, path: "vdz", nparams: 16 }));
    await t.call("no such card", remote.domainInterfaceStats({ dom, device: "vnet99" }));
    await t.call("block info", remote.domainGetBlockInfo({ dom, path: "vda" }), ({ capacity }) => capacity);
    await t.call("no block info", remote.domainGetBlockInfo({ dom, path: "vdz" }));
    await t.call("disk errors", remote.domainGetDiskErrors({ dom, maxerrors: 4 }));
    await t.call("destroy", remote.domainDestroy({ dom }));
    await t.call("undefine", remote.domainUndefine({ dom }));
  },
};
