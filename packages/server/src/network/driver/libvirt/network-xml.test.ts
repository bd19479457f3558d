import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress, isInside, networkBounds, parseAddress, parseCidr } from "./ipv4.ts";
import { checkNetwork, networkXml, readNetworkXml } from "./network-xml.ts";

test("IPv4 addresses as numbers", () => {
  for (const address of ["0.0.0.0", "10.1.2.3", "192.168.122.1", "255.255.255.255"]) {
    assert.equal(formatAddress(parseAddress(address) ?? -1), address);
  }
  for (const none of ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "a.b.c.d"]) {
    assert.equal(parseAddress(none), undefined, none);
  }
  const cidr = parseCidr("192.168.1.130/25");
  assert.ok(cidr);
  const bounds = networkBounds(cidr);
  assert.equal(formatAddress(bounds.first), "192.168.1.128");
  assert.equal(formatAddress(bounds.last), "192.168.1.255");
  assert.ok(isInside(cidr.address, bounds) && !isInside(bounds.first, bounds) && !isInside(bounds.last, bounds));
  for (const none of ["10.0.0.1", "10.0.0.1/33", "10.0.0.1/8/9", "x/8"]) assert.equal(parseCidr(none), undefined, none);
});

test("what is defined is read back", () => {
  const nat = {
    name: "n",
    forwardMode: "nat",
    address: "10.5.0.1/24",
    dhcp: { start: "10.5.0.10", end: "10.5.0.20" },
  } as const;
  assert.deepEqual(readNetworkXml(networkXml(nat)), { forwardMode: "nat", addresses: ["10.5.0.1/24"], dhcp: true });
  const bridge = { name: "b", forwardMode: "bridge", bridge: "br0" } as const;
  assert.deepEqual(readNetworkXml(networkXml(bridge)), {
    forwardMode: "bridge",
    bridge: "br0",
    addresses: [],
    dhcp: false,
  });
  const isolated = { name: "i", forwardMode: "isolated" } as const;
  assert.deepEqual(readNetworkXml(networkXml(isolated)), { forwardMode: "isolated", addresses: [], dhcp: false });
});

test("networks made by hand are read", () => {
  const byHand = `<network><name>x</name><forward/><bridge name='virbr9'/>
    <ip address='192.168.9.1' netmask='255.255.252.0'><dhcp/></ip><ip family='ipv6' address='fd00::1' prefix='64'/></network>`;
  assert.deepEqual(readNetworkXml(byHand), {
    forwardMode: "nat",
    bridge: "virbr9",
    addresses: ["192.168.9.1/22", "fd00::1/64"],
    dhcp: true,
  });
});

test("what can't be is refused, naming the field", () => {
  const nat = { name: "n", forwardMode: "nat" as const };
  const rows: [Parameters<typeof checkNetwork>[0], string][] = [
    [{ ...nat, name: "a/b", address: "10.0.0.1/24" }, "name"],
    [nat, "address"],
    [{ ...nat, address: "10.0.0.0/24" }, "address"],
    [{ ...nat, address: "10.0.0.255/24" }, "address"],
    [{ ...nat, address: "10.0.0.1/31" }, "address"],
    [{ ...nat, address: "127.0.0.1/24" }, "address"],
    [{ ...nat, address: "999.0.0.1/24" }, "address"],
    [{ ...nat, address: "10.0.0.1/24", bridge: "br0" }, "bridge"],
    [{ ...nat, address: "10.0.0.1/24", dhcp: { start: "10.0.1.2", end: "10.0.0.9" } }, "dhcp.start"],
    [{ ...nat, address: "10.0.0.1/24", dhcp: { start: "10.0.0.9", end: "10.0.0.2" } }, "dhcp.end"],
    [{ ...nat, address: "10.0.0.5/24", dhcp: { start: "10.0.0.2", end: "10.0.0.9" } }, "dhcp"],
    [{ name: "b", forwardMode: "bridge" }, "bridge"],
    [{ name: "b", forwardMode: "bridge", bridge: "br0", address: "10.0.0.1/24" }, "address"],
    [{ name: "i", forwardMode: "isolated", dhcp: { start: "10.0.0.2", end: "10.0.0.9" } }, "dhcp"],
  ];
  for (const [network, field] of rows) {
    assert.throws(() => checkNetwork(network), { code: "invalid_field", field }, JSON.stringify(network));
  }
});
