/** Whatever is done to a sealed stream, the reader notices; what it hands out before is what was sealed. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { openStream, SealedStreamError, sealStream } from "#core/sealed-stream.ts";

const key = randomBytes(32);
const chunk = 65_536;

async function* pieces(content: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size);
}

async function* broken(): AsyncGenerator<Buffer> {
  yield randomBytes(chunk * 2);
  throw new Error("planned");
}

async function joined(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream));
}

const seal = (content: Buffer, size = 10_000) => joined(sealStream(pieces(content, size), key));
const open = (sealed: Buffer, size = 7777, by = key) => joined(openStream(pieces(sealed, size), by));

test("what is sealed is opened, whatever its length and the pieces it comes in", async () => {
  for (const length of [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk + 17]) {
    const content = randomBytes(length);
    const sealed = await seal(content, 1 + (length % 9000));
    assert.equal(sealed.length, length + 16 * Math.max(1, Math.ceil(length / chunk)));
    assert.deepEqual(await open(sealed), content, `${length} bytes`);
    assert.deepEqual(await open(sealed, 1_000_000), content, `${length} bytes`);
  }
});

test("a flipped bit, a cut, an addition, another order and another key are noticed", async () => {
  const sealed = await seal(randomBytes(3 * chunk + 5));
  const whole = chunk + 16;
  const cases: [what: string, changed: Buffer][] = [
    ["nothing left", Buffer.alloc(0)],
    ["cut in a chunk", sealed.subarray(0, 2 * whole + 9)],
    ["cut between chunks", sealed.subarray(0, 2 * whole)],
    ["cut to a stub", sealed.subarray(0, 9)],
    ["one byte more", Buffer.concat([sealed, Buffer.of(0)])],
    ["first chunk twice", Buffer.concat([sealed.subarray(0, whole), sealed])],
    [
      "two swapped",
      Buffer.concat([sealed.subarray(whole, 2 * whole), sealed.subarray(0, whole), sealed.subarray(2 * whole)]),
    ],
  ];
  for (const at of [0, 100, whole - 1, whole, sealed.length - 1]) {
    const flipped = Buffer.from(sealed);
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    cases.push([`bit ${at}`, flipped]);
  }
  for (const [what, changed] of cases) await assert.rejects(open(changed), SealedStreamError, what);
  await assert.rejects(open(sealed, 7777, randomBytes(32)), SealedStreamError);
});

test("a fault of the source is the reader's, unchanged", async () => {
  await assert.rejects(joined(sealStream(broken(), key)), /planned/);
});
