/** The filter's grammar, its errors and what it matches. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FilterError, matchesFilter, parseFilter } from "./filter.ts";
import { Host } from "./resource/host.ts";
import { Vm } from "./resource/vm.ts";

const vm = {
  id: "vm-1",
  name: 'Web "one"',
  state: "running",
  template: false,
  tags: ["web", "tier:front"],
  currentSnapshotId: null,
  spec: { memory: { sizeMiB: 4096 }, nics: [{ network: "default" }, { network: "dmz" }] },
};

test("conditions on text, numbers, booleans, lists and absent fields", () => {
  const cases: [string, boolean][] = [
    ["", true],
    ["  ", true],
    ["state=running", true],
    ["state = running", true],
    ["state!=running", false],
    ["name~WEB", true],
    ['name="Web \\"one\\""', true],
    ["tags=web", true],
    ["tags=tier:front", true],
    ["tags=db", false],
    ["tags!=db", true],
    ["tags!=web", false],
    ["spec.nics.network=dmz", true],
    ["spec.memory.sizeMiB>=4096", true],
    ["spec.memory.sizeMiB<512", false],
    ["spec.memory.sizeMiB>9", true],
    ["template=false", true],
    ["currentSnapshotId=null", true],
    ["currentSnapshotId!=null", false],
    ["startedAt=null", true],
    ["startedAt>2020-01-01", false],
    ["state=running and tags=web AND name~one", true],
    ["state=running and tags=db", false],
  ];
  for (const [filter, expected] of cases) {
    assert.equal(matchesFilter(vm, parseFilter(filter, Vm)), expected, filter);
  }
});

test("what can't be read names the position and the field", () => {
  const cases: [string, number, string | undefined, RegExp][] = [
    ["=x", 0, undefined, /name of a field/],
    ["colour=red", 0, "colour", /no field "colour"/],
    ["state=running and spec.memory.size=1", 18, "spec.memory.size", /no field/],
    ["constructor=1", 0, "constructor", /no field/],
    ["state", 5, "state", /Expected one of/],
    ["state=", 6, "state", /Expected a value/],
    ['name="open', 5, "name", /does not end/],
    ["state=running tags=web", 14, undefined, /Expected `and`/],
    ['name="a"and state=x', 8, undefined, /Expected `and`/],
    ["state=running and", 14, undefined, /Expected `and`/],
    ["spec.memory.sizeMiB>4G", 20, "spec.memory.sizeMiB", /is a number/],
  ];
  for (const [filter, position, field, message] of cases) {
    assert.throws(
      () => parseFilter(filter, Vm),
      (error: unknown) => {
        assert.ok(error instanceof FilterError, filter);
        assert.equal(error.position, position, filter);
        assert.equal(error.field, field, filter);
        assert.match(error.message, message);
        return true;
      },
    );
  }
  assert.deepEqual(parseFilter("hardware.memoryMiB>1", Host), [
    { field: "hardware.memoryMiB", operator: ">", value: "1" },
  ]);
});
