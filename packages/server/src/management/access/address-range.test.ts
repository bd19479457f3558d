/** IPv6 counts by /64 however it is written, IPv4 by address however it comes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { addressRange } from "#management/access/address-range.ts";

test("addresses of one /64 are one, IPv4 addresses are each their own", () => {
  const cases = {
    "192.0.2.1": "192.0.2.1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "::ffff:c000:0201": "192.0.2.1",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
    "2001:DB8:1:2::1": "2001:db8:1:2::/64",
    "2001:db8:1:3::1": "2001:db8:1:3::/64",
    "2001:db8::1": "2001:db8:0:0::/64",
    "::1": "0:0:0:0::/64",
    "::": "0:0:0:0::/64",
    "1::": "1:0:0:0::/64",
    "64:ff9b::192.0.2.33": "64:ff9b:0:0::/64",
    "fe80::1%eth0": "fe80:0:0:0::/64",
    "no address": "no address",
  };
  for (const [address, range] of Object.entries(cases)) assert.equal(addressRange(address), range);
});
