/** The coding that a client likes best, and that it is that. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import { chooseCoding, compress } from "#rest/compression.ts";

test("the coding of the highest weight, of equal ones the fastest; none where none is wanted", () => {
  const cases: [string | undefined, string | undefined][] = [
    [undefined, undefined],
    ["", undefined],
    ["identity", undefined],
    ["gzip", "gzip"],
    ["x-gzip", "gzip"],
    ["gzip, deflate, br, zstd", "zstd"],
    ["gzip;q=1.0, zstd;q=0.5", "gzip"],
    ["GZIP;Q=0.2,br;q=0.1", "gzip"],
    ["*", "zstd"],
    ["zstd;q=0, *;q=0.5", "br"],
    ["gzip;q=0", undefined],
    ["gzip;q=x", undefined],
  ];
  for (const [header, expected] of cases) assert.equal(chooseCoding(header), expected, String(header));
});

test("what is compressed is read again", async () => {
  const content = Buffer.from('{"name":"web"},'.repeat(10_000));
  assert.deepEqual(zstdDecompressSync(await compress("zstd", content)), content);
  assert.deepEqual(brotliDecompressSync(await compress("br", content)), content);
  assert.deepEqual(gunzipSync(await compress("gzip", content)), content);
});
