/** Pages stay whole while the list changes; sort, fields and bad queries. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { type ListPage, listPage } from "#management/inventory/list-page.ts";

const schema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  size: Type.Optional(Type.Integer()),
  nics: Type.Array(Type.Object({ mac: Type.String(), network: Type.String() })),
});
const options = { schema, defaultSort: "name", revision: 7 };
const item = (index: number) => ({
  id: `i-${String(index).padStart(3, "0")}`,
  name: `n${index % 7}`,
  ...(index % 3 === 0 ? { size: index } : {}),
  nics: [{ mac: `m${index}`, network: "default" }],
});
const names = (page: ListPage): string[] => page.items.map((each) => (each as { id: string }).id);

test("pages go on where the one before ended, while items come, go and change", () => {
  let list = Array.from({ length: 100 }, (_, index) => item(index));
  const seen: string[] = [];
  let cursor: string | undefined;
  const removed = new Set<string>();
  do {
    const page = listPage(list, { limit: 9, sort: "-size,name", ...(cursor && { cursor }) }, options);
    seen.push(...names(page));
    cursor = page.nextCursor;
    // Of what was shown, one goes; and something new comes at the front.
    const [first] = names(page);
    removed.add(first ?? "");
    list = [...list.filter((each) => each.id !== first), { ...item(900 + seen.length), size: 10_000 }];
  } while (cursor !== undefined);
  assert.equal(new Set(seen).size, seen.length, "none is shown twice");
  const missing = Array.from({ length: 100 }, (_, index) => item(index).id).filter((id) => !seen.includes(id));
  assert.deepEqual(missing, []);
});

test("the default order, counts, fields through lists, and the end of the list", () => {
  const list = Array.from({ length: 5 }, (_, index) => item(index));
  const page = listPage(list, { limit: 5, fields: "name,nics.mac" }, options);
  assert.equal(page.totalCount, 5);
  assert.equal(page.nextCursor, undefined);
  assert.equal(page.revision, 7);
  assert.deepEqual(page.items[0], { id: "i-000", name: "n0", nics: [{ mac: "m0" }] });
  assert.deepEqual(names(listPage(list, { filter: "size>=3" }, options)), ["i-003"]);
  assert.deepEqual(names(listPage(list, { sort: "size" }, options)), ["i-000", "i-003", "i-001", "i-002", "i-004"]);
});

test("bad queries name their field", () => {
  const list = [item(1), item(2)];
  const refuse = (query: object, field: string): void =>
    assert.throws(() => listPage(list, query, options), { code: "invalid_field", field });
  refuse({ filter: "x=1" }, "filter");
  refuse({ sort: "x" }, "sort");
  refuse({ sort: "name,name,name,name,name" }, "sort");
  refuse({ fields: "name,x" }, "fields");
  refuse({ cursor: "garbage" }, "cursor");
  const { nextCursor } = listPage(list, { limit: 1 }, options);
  refuse({ cursor: nextCursor, sort: "-name" }, "cursor");
});
