/** Every call that the drivers make is compared with python3-libvirt's (comparison.lab.test.ts makes the comparisons). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { comparedCalls } from "./test-support/compared-table.ts";
import { protocolUse } from "./test-support/protocol-use.ts";
import { virshRows, withoutVirsh } from "./test-support/virsh-table.ts";

test("a call that a driver makes has its row among the comparisons", () => {
  const calls = Object.values(comparedCalls).flat();
  const compared = new Set(calls.map(({ procedure }) => procedure));
  // What to do: add the call to test-support/compared-*.ts, with what is the same in libvirt-python.
  assert.deepEqual(
    [...protocolUse().procedures].filter((name) => !compared.has(name)),
    [],
  );
});

test("a call that only reads has its row among virsh's commands, or the reason why it has none", () => {
  const reads = [...protocolUse().procedures].filter((name) =>
    /Get|Lookup|ListAll|Is[A-Z]|Has[A-Z]|Num$|Current$|Compare|Addresses$|ToNative$|MonitorCommand$/u.test(name),
  );
  const inTable = [...virshRows.map(({ procedure }) => procedure), ...Object.keys(withoutVirsh)];
  // What to do: add the row to test-support/virsh-table.ts.
  assert.deepEqual(new Set(inTable), new Set(reads));
});
