/** Every call that the drivers make is compared with python3-libvirt's (comparison.lab.test.ts makes the comparisons). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { domainChanges, domainMakings } from "./test-support/compared-domain-change.ts";
import { domainReads } from "./test-support/compared-domain-read.ts";
import { hostReads } from "./test-support/compared-host.ts";
import { networkChanges, networkMakings, networkReads } from "./test-support/compared-network.ts";
import {
  poolChanges,
  poolMakings,
  poolReads,
  volumeChanges,
  volumeMakings,
  volumeReads,
  volumeRemovals,
} from "./test-support/compared-storage.ts";
import { protocolUse } from "./test-support/protocol-use.ts";

test("a call that a driver makes has its row among the comparisons", () => {
  const tables = [
    [hostReads, domainReads, domainMakings, domainChanges],
    [poolReads, poolMakings, poolChanges, volumeReads, volumeMakings, volumeChanges, volumeRemovals],
    [networkReads, networkMakings, networkChanges],
  ];
  const calls = tables.flat(2);
  const compared = new Set(calls.map(({ procedure }) => procedure));
  // What to do: add the call to test-support/compared-*.ts, with what is the same in libvirt-python.
  assert.deepEqual(
    [...protocolUse().procedures].filter((name) => !compared.has(name)),
    [],
  );
});
