/** Calls about networks. */
import type { NonnullNetwork } from "@innkeeper/libvirt";
import { type ComparedCall, effect, filled, inPython, named } from "./compared-call.ts";

const networkXml = "<network><name>NAME</name><forward mode='bridge'/><bridge name='virbr0'/></network>";
const networkLook = "[o.XMLDesc(), o.isActive(), o.autostart()]";

export const networkMakings: readonly ComparedCall<string>[] = [
  {
    procedure: "networkDefineXml",
    ours: (remote, name) => remote.networkDefineXml({ xml: filled(networkXml, name) }).then(() => null),
    python: `c.networkDefineXML(${inPython(networkXml)}) and None`,
    look: "c.networkLookupByName(n).XMLDesc()",
  },
];

export const networkChanges: readonly ComparedCall<NonnullNetwork>[] = [
  effect("networkCreate", (remote, net) => remote.networkCreate({ net }), "o.create()", networkLook),
  effect("networkCreate", (remote, net) => remote.networkCreate({ net }), "o.create()", networkLook),
  effect(
    "networkSetAutostart",
    (remote, net) => remote.networkSetAutostart({ net, autostart: 1 }),
    "o.setAutostart(1)",
    networkLook,
  ),
  effect("networkDestroy", (remote, net) => remote.networkDestroy({ net }), "o.destroy()", networkLook),
  effect(
    "networkUndefine",
    (remote, net) => remote.networkUndefine({ net }),
    "o.undefine()",
    "[i.name() for i in c.listAllNetworks() if i.name() == n]",
  ),
];

export const networkReads: readonly ComparedCall<NonnullNetwork>[] = [
  {
    procedure: "networkGetXmlDesc",
    ours: async (remote, net) => (await remote.networkGetXmlDesc({ net })).xml,
    python: "o.XMLDesc()",
  },
  {
    procedure: "networkIsActive",
    ours: async (remote, net) => (await remote.networkIsActive({ net })).active,
    python: "o.isActive()",
  },
  {
    procedure: "networkGetAutostart",
    ours: async (remote, net) => (await remote.networkGetAutostart({ net })).autostart,
    python: "o.autostart()",
  },
  {
    procedure: "networkLookupByUuid",
    ours: async (remote, { uuid }) => named((await remote.networkLookupByUuid({ uuid })).net),
    python: "c.networkLookupByUUIDString(o.UUIDString())",
  },
];
