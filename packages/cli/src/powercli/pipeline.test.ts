/** What a cmdlet takes from standard input. */
import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { suite, test } from "node:test";
import { pipedReferences } from "#powercli/pipeline.ts";

async function texts(input: string): Promise<string[]> {
  const references = await pipedReferences(Readable.from([Buffer.from(input)]), AbortSignal.timeout(10_000));
  assert.ok(references.every(({ literal }) => literal));
  return references.map(({ text }) => text);
}

suite("objects on standard input", () => {
  test("JSON lines, a JSON array, names, and what other shells make of them", async () => {
    assert.deepEqual(await texts('{"Name":"web","Id":"vm-1"}\n{"Name":"db","Id":"vm-2"}\n'), ["vm-1", "vm-2"]);
    assert.deepEqual(await texts('[\n  {"id": "vm-1", "name": "web"},\n  "db"\n]'), ["vm-1", "db"]);
    assert.deepEqual(await texts("web\r\n\r\ndb 1\n"), ["web", "db 1"]);
    assert.deepEqual(await texts("\ufeffweb\n"), ["web"]);
    assert.deepEqual(await texts('{"NAME":"web"}'), ["web"]);
    assert.deepEqual(await texts("[a] web\n[b] web"), ["[a] web", "[b] web"]);
    assert.deepEqual(await texts(" \n"), []);
  });

  test("what names nothing is refused", async () => {
    await assert.rejects(texts('{"Title":"x"}'), /without Id and Name/);
    await assert.rejects(texts("[1]"), /without Id and Name/);
    await assert.rejects(texts("{broken"), /neither JSON objects/);
  });

  test("an input that never ends is left when the command is ended", async () => {
    const stop = new AbortController();
    const silent = new Readable({ read() {} });
    const reading = pipedReferences(silent, stop.signal);
    stop.abort(new Error("ended by the user"));
    await assert.rejects(reading, /ended by the user/);
  });
});
