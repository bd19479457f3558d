import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { FrameReader, FramingError } from "./frame-reader.ts";
import { FRAME_MAX, HEADER_SIZE, frameOf } from "./message.ts";
import type { Message } from "./message.ts";

const header = fc.record({
  program: fc.nat(0x7fffffff),
  version: fc.nat(5),
  procedure: fc.nat(500),
  type: fc.constantFrom(0, 1, 2, 3, 6),
  serial: fc.nat(),
  status: fc.nat(2),
});

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (let index = 0; at < bytes.byteLength; index += 1) {
    const size = sizes[index % sizes.length] ?? 1;
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

describe("framing", () => {
  test("messages come out as they went in, however the bytes are cut", () => {
    const message = fc.record({ header, payload: fc.uint8Array({ maxLength: 300 }) });
    fc.assert(
      fc.property(
        fc.array(message, { minLength: 1, maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 10 }),
        (messages, sizes) => {
          const bytes = Buffer.concat(messages.map((each) => frameOf(each.header, each.payload)));
          const seen: Message[] = [];
          const reader = new FrameReader((each) => seen.push({ ...each, payload: Buffer.from(each.payload) }));
          for (const chunk of cut(bytes, sizes)) reader.push(chunk);
          assert.deepEqual(
            seen,
            messages.map((each) => ({ ...each.header, payload: Buffer.from(each.payload) })),
          );
          assert.equal(reader.isPartial, false);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("the largest frame passes, one byte more does not", () => {
    const largest = frameOf(
      { program: 1, version: 1, procedure: 1, type: 1, serial: 1, status: 0 },
      Buffer.alloc(FRAME_MAX - HEADER_SIZE),
    );
    let size = 0;
    const reader = new FrameReader(({ payload }) => (size = payload.byteLength));
    for (const chunk of cut(largest, [65_536])) reader.push(chunk);
    assert.equal(size, FRAME_MAX - HEADER_SIZE);
    const tooBig = Buffer.alloc(4);
    tooBig.writeUInt32BE(FRAME_MAX + 1);
    assert.throws(() => reader.push(tooBig), FramingError);
  });

  test("bytes beside passed file descriptors are dropped", () => {
    const fds = frameOf(
      { program: 1, version: 1, procedure: 1, type: 5, serial: 1, status: 0 },
      Buffer.from("00000002aabbccdd", "hex"),
    );
    const next = frameOf({ program: 1, version: 1, procedure: 2, type: 1, serial: 2, status: 0 });
    for (const sizes of [[1], [7], [1_000]]) {
      const seen: [number, string][] = [];
      const reader = new FrameReader(({ procedure, payload }) => seen.push([procedure, payload.toString("hex")]));
      for (const chunk of cut(Buffer.concat([fds, Buffer.alloc(2), next]), sizes)) reader.push(chunk);
      assert.deepEqual(seen, [
        [1, "aabbccdd"],
        [2, ""],
      ]);
    }
  });

  test("a cut-off frame is known to be partial", () => {
    const reader = new FrameReader(() => assert.fail("nothing is whole"));
    reader.push(Buffer.from("000000", "hex"));
    assert.equal(reader.isPartial, true);
  });
});
