// Sparse content against a plain buffer that holds everything.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SparseContent } from "./sparse-content.ts";

const SIZE = 400_000;

type Step =
  | { readonly kind: "write"; readonly offset: number; readonly length: number; readonly fill: number }
  | { readonly kind: "truncate"; readonly length: number };

const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("write" as const),
      offset: fc.integer({ min: 0, max: SIZE - 150_000 }),
      length: fc.integer({ min: 0, max: 150_000 }),
      fill: fc.integer({ min: 0, max: 2 }),
    }),
    fc.record({ kind: fc.constant("truncate" as const), length: fc.integer({ min: 0, max: SIZE }) }),
  ),
  { maxLength: 12 },
);

function apply(content: SparseContent, plain: { bytes: Buffer; length: number }, step: Step): void {
  if (step.kind === "truncate") {
    content.truncate(step.length);
    plain.bytes.fill(0, step.length);
    plain.length = step.length;
    return;
  }
  const bytes = Buffer.alloc(step.length, step.fill);
  content.write(step.offset, bytes);
  bytes.copy(plain.bytes, step.offset);
  plain.length = Math.max(plain.length, step.offset + step.length);
}

test("reads give what was written, and copies do not see later writes", () => {
  fc.assert(
    fc.property(steps, steps, (before, after) => {
      const content = new SparseContent();
      const plain = { bytes: Buffer.alloc(SIZE), length: 0 };
      for (const step of before) apply(content, plain, step);
      const copy = new SparseContent(content);
      const expected = Buffer.from(plain.bytes.subarray(0, plain.length));
      for (const step of after) apply(content, plain, step);
      assert.ok(copy.read(0, SIZE).equals(expected));
      assert.ok(content.read(0, SIZE).equals(plain.bytes.subarray(0, plain.length)));
      assert.equal(content.length, plain.length);
      const parts = [...content.sections(1_000, SIZE)];
      assert.equal(
        parts.reduce((sum, { length }) => sum + length, 0),
        Math.max(0, plain.length - 1_000),
      );
      for (const { offset, length, isHole } of parts) {
        if (isHole) assert.ok(content.read(offset, length).equals(Buffer.alloc(length)));
      }
    }),
    { numRuns: 60 },
  );
});

test("holes take no room, pages of zeros are not kept twice", () => {
  const content = new SparseContent();
  content.truncate(10_000_000_000);
  assert.equal(content.allocated, 0);
  content.write(5_000_000_000, Buffer.alloc(1_000_000));
  assert.ok(content.allocated >= 1_000_000 && content.allocated < 1_200_000);
  assert.equal([...content.sections(0, content.length)].length >= 3, true);
});
