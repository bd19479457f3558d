import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Candidate, place, unfit } from "./placement.ts";

const host = (hostName: string, memoryFreeMiB: number, problem?: string): Candidate => ({
  hostId: `host-${hostName}`,
  hostName,
  memoryFreeMiB,
  problems: problem === undefined ? [] : [{ code: "unsupported", field: "tpm", message: problem }],
});

test("every host is either chosen or has a reason, and the reason is its own", () => {
  const decision = place([host("a", 100), host("b", 900), host("c", 5000, "Host c has no TPM.")], {
    memoryMiB: 200,
    start: true,
  });
  assert.equal(decision?.hostName, "b");
  assert.deepEqual(decision?.reasons, ["it is the only host that fits (900 MiB free)"]);
  assert.deepEqual(
    decision?.rejected.map(({ hostName, reason }) => [hostName, reason]),
    [
      ["a", "Host a has 100 MiB of memory free, less than 200 MiB."],
      ["c", "Host c has no TPM."],
    ],
  );
});

test("memory need not be free for a VM that does not start", () => {
  assert.equal(place([host("a", 100)], { memoryMiB: 200, start: false })?.hostName, "a");
  assert.equal(place([host("a", 100)], { memoryMiB: 200, start: true }), undefined);
});

test("the choice is a host that fits, with the most free memory, whatever the order", () => {
  const candidate = fc.record({ free: fc.nat(4000), broken: fc.boolean() });
  fc.assert(
    fc.property(fc.array(candidate, { maxLength: 8 }), fc.nat(4000), (hosts, memoryMiB) => {
      const demand = { memoryMiB, start: true };
      const all = hosts.map(({ free, broken }, index) => host(`h${index}`, free, broken ? "broken" : undefined));
      const fit = all.filter((each) => unfit(each, demand) === undefined);
      const decision = place(all, demand);
      assert.equal(decision === undefined, fit.length === 0);
      assert.equal(place(all.toReversed(), demand)?.hostId, decision?.hostId);
      if (decision === undefined) return;
      const best = Math.max(...fit.map((each) => each.memoryFreeMiB));
      assert.equal(all.find((each) => each.hostId === decision.hostId)?.memoryFreeMiB, best);
      assert.equal(decision.rejected.length, all.length - 1);
    }),
  );
});
