import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TextIndex } from "./text-index.ts";

interface Named {
  readonly id: string;
  readonly name: string;
}

const textOf = (resource: object): string => (resource as Named).name;
const name = fc.string({ unit: fc.constantFrom("a", "b", "-", "ä", "\0"), maxLength: 6 });

test("it tells all that have a text, those that changed, and no others", () => {
  const changes = fc.array(fc.record({ index: fc.nat(30), name: fc.option(name) }), { maxLength: 5 });
  fc.assert(
    fc.property(fc.array(name, { maxLength: 25 }), changes, name, (names, changed, part) => {
      const known = new Map(names.map((each, index): [string, Named] => [`${index}`, { id: `${index}`, name: each }]));
      const now = new Map(known);
      const index = new TextIndex(known.values(), textOf);
      for (const change of changed) {
        const id = `${change.index}`;
        if (change.name === null) now.delete(id);
        else now.set(id, { id, name: change.name });
        index.note(id, now.get(id));
      }
      const found = index.find(part);
      for (const each of now.values()) if (each.name.includes(part)) assert.ok(found.has(each.id), each.id);
      for (const id of found) {
        const isMatch = now.get(id)?.name.includes(part) === true;
        // A separator in what is searched for is found between two, too.
        assert.ok(isMatch || part.includes("\0") || changed.some((change) => id === `${change.index}`), id);
      }
    }),
    { numRuns: 2000 },
  );
});

test("one that gets its text back is as before; many that changed make it stale", () => {
  const index = new TextIndex(
    Array.from({ length: 100 }, (_unused, each) => ({ id: `${each}`, name: `vm${each}` })),
    textOf,
  );
  index.note("1", { id: "1", name: "other" });
  assert.deepEqual([...index.find("vm77")], ["1", "77"]);
  index.note("1", { id: "1", name: "vm1" });
  assert.deepEqual([...index.find("vm77")], ["77"]);
  for (let each = 0; each < 5; each++) index.note(`${each}`, undefined);
  assert.ok(!index.isStale);
  index.note("5", undefined);
  assert.ok(index.isStale);
});
