// Networks of a simulated host, as a client sees them.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { openHost } from "#testing/open-host.ts";

const nat = `<network><name>n1</name><forward mode='nat'/><ip address='192.168.150.1' netmask='255.255.255.0'>
  <dhcp><range start='192.168.150.10' end='192.168.150.11'/><host mac='52:54:00:00:00:09' ip='192.168.150.99'/></dhcp></ip></network>`;

const guestXml = (last: string): string =>
  `<domain type='qemu'><name>guest-${last}</name><memory>65536</memory><os><type>hvm</type></os><devices>
  <interface type='network'><mac address='52:54:00:00:00:${last}'/><source network='n1'/></interface></devices></domain>`;

describe("networks of a simulated host", { timeout: 20_000 }, () => {
  test("life of a network, and its events in their order", async () => {
    await using opened = await openHost();
    const { remote, events } = opened.connection;
    const lifecycle = events.network("lifecycle");
    await lifecycle.ready;
    const { net } = await remote.networkDefineXml({ xml: nat });
    await remote.networkCreate({ net });
    await assert.rejects(remote.networkCreate({ net }), /network is already active/u);
    const other = nat.replace("n1", "n2");
    await remote.networkDefineXml({ xml: other });
    const second = (await remote.networkLookupByName({ name: "n2" })).net;
    await assert.rejects(remote.networkCreate({ net: second }), /Network is already in use by interface virbr0/u);
    await remote.networkUndefine({ net });
    assert.equal((await remote.networkIsPersistent({ net })).persistent, 0);
    await remote.networkDestroy({ net });
    await assert.rejects(remote.networkIsActive({ net }), { codeName: "VIR_ERR_NO_NETWORK" });
    const seen: string[] = [];
    for await (const { net: each, event } of lifecycle) if (seen.push(`${each.name} ${event}`) === 5) break;
    assert.deepEqual(seen, ["n1 0", "n1 2", "n2 0", "n1 1", "n1 3"]);
  });

  test("guests get addresses of the range, reserved ones first, until there are no more", async () => {
    await using opened = await openHost();
    const { remote } = opened.connection;
    const { net } = await remote.networkCreateXml({ xml: nat });
    for (const last of ["01", "02", "03", "09"]) await remote.domainCreateXml({ xmlDesc: guestXml(last) });
    const { leases } = await remote.networkGetDhcpLeases({ net, needResults: 1 });
    assert.deepEqual(
      leases.map(({ mac, ipaddr, prefix, hostname }) => [mac?.slice(-2), ipaddr, prefix, hostname]),
      [
        ["01", "192.168.150.10", 24, "guest-01"],
        ["02", "192.168.150.11", 24, "guest-02"],
        ["09", "192.168.150.99", 24, "guest-09"],
      ],
    );
    const { dom } = await remote.domainLookupByName({ name: "guest-01" });
    await remote.domainDestroy({ dom });
    assert.equal((await remote.networkGetDhcpLeases({ net, mac: "52:54:00:00:00:03", needResults: 1 })).ret, 1);
    assert.match((await remote.networkGetXmlDesc({ net })).xml, /^<network connections='3'>/u);
  });

  test("parts are changed in the running network and in its definition", async () => {
    await using opened = await openHost();
    const { remote } = opened.connection;
    const { net } = await remote.networkDefineXml({ xml: nat });
    await remote.networkCreate({ net });
    const host = { section: 4, parentIndex: -1, xml: "<host mac='52:54:00:00:00:05' ip='192.168.150.50'/>" };
    const both = { net, ...host, command: 3, flags: 3 };
    await remote.networkUpdate(both);
    for (const flags of [0, 1])
      assert.match(
        (await remote.networkGetXmlDesc({ net, flags })).xml,
        /<host mac='52:54:00:00:00:05' ip='192.168.150.50'\/>/u,
      );
    await assert.rejects(
      remote.networkUpdate(both),
      /there is an existing dhcp host entry in network 'n1' that matches/u,
    );
    await remote.networkUpdate({ net, ...host, command: 2, flags: 1 });
    assert.doesNotMatch((await remote.networkGetXmlDesc({ net })).xml, /00:05/u);
    assert.match((await remote.networkGetXmlDesc({ net, flags: 1 })).xml, /00:05/u);
  });
});
