import assert from "node:assert/strict";
import { test } from "node:test";
import { PassThrough, Readable } from "node:stream";
import { parseJsonBody, readBody } from "./json-body.ts";

const parse = (text: string): unknown => parseJsonBody(Buffer.from(text));

test("what is right is read as JSON.parse reads it", () => {
  const texts = [
    "{}",
    "[]",
    "null",
    '"a \\" b { [ , :"',
    '{"a":{"a":[{"a":1},{"a":2}]},"b":"a","c":[1,"a","a",-1.5e3,true,null]}',
    '{"\\u0061\\\\":1,"a":2,"":3}',
    '{"n":9007199254740991,"m":-9007199254740991,"f":0.1}',
    `${"[".repeat(32)}${"]".repeat(32)}`,
  ];
  for (const text of texts) assert.deepEqual(parse(text), JSON.parse(text), text);
  assert.equal(parse(""), undefined);
});

test("what two programs would read differently is refused, by field", () => {
  const rows: [string, string | undefined, RegExp][] = [
    ['{"name":"a","name":"b"}', "name", /given twice/],
    ['{"\\u006eame":"a","name":"b"}', "name", /given twice/],
    ['{"disks":[{},{"path":"/a","size":1,"path":"/b"}]}', "disks.1.path", /given twice/],
    ['{"__proto__":1,"__proto__":2}', "__proto__", /given twice/],
    ['{"memory":{"sizeMiB":9007199254740993}}', "memory.sizeMiB", /beyond/],
    ['{"a":[0,-1e400]}', "a.1", /beyond/],
    ["1e309", undefined, /The body is 1e309/],
    [`${"[".repeat(33)}${"]".repeat(33)}`, undefined, /nested deeper/],
    [`${'{"a":'.repeat(40)}1${"}".repeat(40)}`, undefined, /nested deeper/],
    ["{} {}", undefined, /not valid JSON/],
  ];
  for (const [text, field, message] of rows) {
    const code = /beyond|1e309/.test(String(message)) ? "invalid_field" : "bad_request";
    assert.throws(() => parse(text), { code, field, message }, text);
  }
  for (const bytes of [[0xff], [0x22, 0xc0, 0x80, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22]]) {
    assert.throws(() => parseJsonBody(Uint8Array.from(bytes)), { code: "bad_request", message: /UTF-8/ });
  }
});

test("a body that is too large or too slow is given up", async () => {
  assert.equal(String(await readBody(Readable.from([Buffer.from("ab"), Buffer.from("c")]), 3)), "abc");
  await assert.rejects(readBody(Readable.from([Buffer.alloc(2), Buffer.alloc(2)]), 3), { code: "too_large" });
  const slow = new PassThrough();
  slow.write("{");
  await assert.rejects(readBody(slow, 100, 5), /too slowly/);
  assert.ok(slow.destroyed);
});
