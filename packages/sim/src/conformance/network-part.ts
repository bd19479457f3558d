// Networks, from their definition to their end.
import type { NonnullNetwork } from "@innkeeper/libvirt";
import type { ConformancePart, Transcript } from "./transcript.ts";

const absent: NonnullNetwork = { name: "none", uuid: "11111111-2222-4333-8444-555555555555" };
const named = (name: string, inner: string): string => `<network><name>${name}</name>${inner}</network>`;
/** Isolated: a daemon that has no right to change the firewall can start it, too. */
const ISOLATED = named(
  "n1",
  "<bridge name='virbr77'/><ip address='192.168.77.1' netmask='255.255.255.0'><dhcp><range start='192.168.77.10' end='192.168.77.20'/></dhcp></ip>",
);
const NAT = named("n2", "<forward mode='nat'/><bridge name='virbr78'/><ip address='192.168.78.1' prefix='24'/>");
const BRIDGED = named("n3", "<forward mode='bridge'/><bridge name='br0'/>");

const BAD: Readonly<Record<string, string>> = {
  "no name": "<network/>",
  "not a network": "<domain/>",
  "slash in the name": named("a/b", ""),
  "unknown mode": named("x", "<forward mode='what'/>"),
  "bad address": named("x", "<ip address='300.1.1.1'/>"),
  "range outside":
    "<network><name>x</name><ip address='10.1.1.1' prefix='24'><dhcp><range start='10.1.2.1' end='10.1.2.9'/></dhcp></ip></network>",
  "bad uuid": named("x", "<uuid>no</uuid>"),
};
const HOST = "<host mac='52:54:00:11:22:33' name='a' ip='192.168.77.15'/>";

export const networkPart: ConformancePart = {
  name: "network",
  run: async (transcript) => {
    const { events } = transcript.connection;
    await transcript.listen(events.network("lifecycle"), ({ net, event }) => `${net.name} ${event}`);
    await definitions(transcript);
    await life(transcript);
    await updates(transcript);
    await ends(transcript);
  },
};

const lookUp = async (t: Transcript, name: string): Promise<NonnullNetwork> =>
  (await t.connection.remote.networkLookupByName({ name })).net;

async function definitions(t: Transcript): Promise<void> {
  const { remote } = t.connection;
  for (const [label, xml] of Object.entries(BAD)) await t.call(label, remote.networkDefineXml({ xml }));
  await t.call("lookup", remote.networkLookupByName({ name: "none" }));
  await t.call("of none", remote.networkGetXmlDesc({ net: absent }));
  for (const xml of [ISOLATED, NAT, BRIDGED]) await t.call("define", remote.networkDefineXml({ xml }));
  for (const name of ["n1", "n2", "n3"])
    await t.call(`XML of ${name}`, remote.networkGetXmlDesc({ net: await lookUp(t, name) }));
  const other = "<uuid>11111111-2222-4333-8444-555555555555</uuid>";
  await t.call("another UUID", remote.networkDefineXml({ xml: BRIDGED.replace("<forward", `${other}<forward`) }));
  await t.call("bridge that is taken", remote.networkDefineXml({ xml: named("n4", "<bridge name='virbr77'/>") }));
}

async function life(t: Transcript): Promise<void> {
  const { remote } = t.connection;
  const net = await lookUp(t, "n1");
  await t.call("not active", remote.networkDestroy({ net }));
  await t.call("bridge", remote.networkGetBridgeName({ net }));
  await t.call("start", remote.networkCreate({ net }));
  await t.call("start again", remote.networkCreate({ net }));
  await t.call("active", remote.networkIsActive({ net }));
  await t.call("XML while on", remote.networkGetXmlDesc({ net }));
  await t.call("autostart", remote.networkSetAutostart({ net, autostart: 1 }));
  await t.call("leases", remote.networkGetDhcpLeases({ net, needResults: 1 }));
  await t.call("leases of a bad address", remote.networkGetDhcpLeases({ net, mac: "xx", needResults: 1 }));
  const same = named("n5", "<bridge name='virbr79'/><ip address='192.168.77.1' prefix='24'/>");
  await t.call("addresses that are in use", remote.networkCreateXml({ xml: same }));
  await t.call("it is not there", remote.networkLookupByName({ name: "n5" }));
  const bridged = await lookUp(t, "n3");
  await t.call("start bridged", remote.networkCreate({ net: bridged }));
  await t.call("no leases", remote.networkGetDhcpLeases({ net: bridged, needResults: 1 }));
  await t.events("events", 5);
}

async function updates(t: Transcript): Promise<void> {
  const { remote } = t.connection;
  const net = await lookUp(t, "n1");
  const update = (label: string, command: number, section: number, xml: string, flags = 3) =>
    t.call(label, remote.networkUpdate({ net, command, section, parentIndex: -1, xml, flags }));
  await update("add a host", 3, 4, HOST);
  await update("add it again", 3, 4, HOST);
  await update("remove it", 2, 4, HOST);
  await update("remove it again", 2, 4, HOST);
  await update("a section that is fixed", 3, 1, "<bridge/>");
  await update("add a name", 3, 10, "<host ip='192.168.77.16'><hostname>foo</hostname></host>", 2);
  for (const flags of [0, 1]) await t.call("XML then", remote.networkGetXmlDesc({ net, flags }));
}

async function ends(t: Transcript): Promise<void> {
  const { remote } = t.connection;
  const net = await lookUp(t, "n1");
  await t.call("undefine while on", remote.networkUndefine({ net }));
  await t.call("persistent", remote.networkIsPersistent({ net }));
  await t.call("autostart of a transient one", remote.networkSetAutostart({ net, autostart: 1 }));
  await t.call("undefine a transient one", remote.networkUndefine({ net }));
  await t.call("destroy", remote.networkDestroy({ net }));
  await t.call("gone", remote.networkIsActive({ net }));
  for (const name of ["n2", "n3"])
    await t.call(`undefine ${name}`, remote.networkUndefine({ net: await lookUp(t, name) }));
  await t.events("events of the end", 4);
}
