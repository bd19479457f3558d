// The connection and the machine: shapes and errors; the figures are each machine's own.
import type { ConformancePart } from "./transcript.ts";

const kinds = (value: object): Record<string, string> =>
  Object.fromEntries(Object.entries(value).map(([key, each]) => [key, typeof each]));

export const nodePart: ConformancePart = {
  name: "node",
  run: async (t) => {
    const { remote } = t.connection;
    await t.call("type", remote.connectGetType());
    await t.call("libvirt", remote.connectGetLibVersion());
    await t.call("version", remote.connectGetVersion());
    await t.call("uri", remote.connectGetUri());
    await t.call("secure", remote.connectIsSecure());
    for (let feature = 1; feature <= 16; feature += 1)
      if (feature !== 7) await t.call(`feature ${feature}`, remote.connectSupportsFeature({ feature }));
    await t.call("info", remote.nodeGetInfo(), kinds);
    await t.call("vcpus", remote.connectGetMaxVcpus({ type: "qemu" }));
    const cpu = await remote.nodeGetCpuStats({ cpuNum: -1, nparams: 0 });
    await t.call("cpu counters", Promise.resolve(cpu), ({ nparams }) => nparams);
    await t.call("cpu", remote.nodeGetCpuStats({ cpuNum: -1, nparams: cpu.nparams }), ({ params }) =>
      params.map(({ field }) => field),
    );
    await t.call("no such cpu", remote.nodeGetCpuStats({ cpuNum: 4_000, nparams: 4 }), () => "no error");
    await t.call("memory", remote.nodeGetMemoryStats({ cellNum: -1, nparams: 4 }), ({ params }) =>
      params.map(({ field }) => field),
    );
    await t.call("free", remote.nodeGetFreeMemory(), kinds);
    await t.call("cells", remote.nodeGetCellsFreeMemory({ startCell: 0, maxcells: 1 }), ({ cells }) => cells.length);
    await t.call("capabilities", remote.connectGetCapabilities(), ({ capabilities }) => elementNames(capabilities));
    const query = { emulatorbin: null, arch: "x86_64", machine: "q35", virttype: "qemu" };
    await t.call("domain capabilities", remote.connectGetDomainCapabilities(query), ({ capabilities }) =>
      elementNames(capabilities),
    );
    await t.call("no such machine", remote.connectGetDomainCapabilities({ ...query, machine: "nope" }));
    await t.call("secrets", remote.connectListAllSecrets({ needResults: 1 }));
    await t.call("deregister nothing", remote.connectDomainEventCallbackDeregisterAny({ callbackID: 99 }));
    await t.call("unknown event", remote.connectDomainEventCallbackRegisterAny({ eventID: 999, dom: null }));
  },
};

/** Names of the elements in the order of their first appearance; CPU features and machines differ from host to host. */
function elementNames(xml: string): string {
  const names = [...xml.matchAll(/<([a-zA-Z_]+)/gu)].flatMap(([, name]) => name ?? []);
  const own = new Set([
    "power_management",
    "suspend_mem",
    "suspend_disk",
    "suspend_hybrid",
    "cache",
    "bank",
    "control",
    "microcode",
    "signature",
    "maxphysaddr",
    "counter",
    "memory_bandwidth",
    "node",
    "hyperv",
    "baselabel",
  ]);
  return [...new Set(names)].filter((name) => !own.has(name)).join(" ");
}
