/** Every call that the drivers make is compared with python3-libvirt's (comparison.lab.test.ts makes the comparisons). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { comparedCalls } from "./test-support/compared-table.ts";
import { protocolUse } from "./test-support/protocol-use.ts";

test("a call that a driver makes has its row among the comparisons", () => {
  const calls = Object.values(comparedCalls).flat();
  const compared = new Set(calls.map(({ procedure }) => procedure));
  // What to do: add the call to test-support/compared-*.ts, with what is the same in libvirt-python.
  assert.deepEqual(
    [...protocolUse().procedures].filter((name) => !compared.has(name)),
    [],
  );
});
