/** What is made one stays equal, is frozen, and the table does not grow. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ValueShare } from "#management/inventory/value-share.ts";

test("what comes back is equal to what went in, whatever else was shared", () => {
  const share = new ValueShare(64);
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value);
      assert.equal(JSON.stringify(share.of(JSON.parse(text))), text);
      assert.equal(JSON.stringify(share.of(share.of(JSON.parse(text)))), text);
    }),
    { numRuns: 1000 },
  );
});

test("equal parts are one object, frozen; different ones stay apart", () => {
  const share = new ValueShare();
  const vm = (name: string) => share.of({ name, spec: { cpu: { count: 2 }, disks: [{ bus: "virtio" }] }, tags: [] });
  const [one, other] = [vm("one"), vm("other")];
  assert.notEqual(one, other);
  assert.equal(one.spec, other.spec);
  assert.equal(one.tags, other.tags);
  assert.ok(Object.isFrozen(one) && Object.isFrozen(one.spec.disks[0]));
  assert.notEqual(share.of({ a: 1 }), share.of({ b: 1 }));
  assert.notEqual(share.of({ a: 0 }), share.of({ a: -0 }));
  assert.deepEqual([share.of([]), share.of({})], [[], {}]);
});
