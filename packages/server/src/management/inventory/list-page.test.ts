/** Pages stay whole while the list changes; sort, fields and bad queries. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import type { ListQuery } from "@innkeeper/contract/endpoint/endpoint.ts";
import { type ListPage, listPage, pageText } from "#management/inventory/list-page.ts";
import { readListQuery } from "#management/inventory/list-query.ts";

const schema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  size: Type.Optional(Type.Integer()),
  nics: Type.Array(Type.Object({ mac: Type.String(), network: Type.String() })),
});
const source = { schema, shortNames: {}, text: ["name"] };
const pageOf = (list: readonly { id: string }[], query: ListQuery): ListPage =>
  listPage(list, readListQuery(query, source, "name"), 7);
const item = (index: number) => ({
  id: `i-${String(index).padStart(3, "0")}`,
  name: `n${index % 7}`,
  ...(index % 3 === 0 ? { size: index } : {}),
  nics: [{ mac: `m${index}`, network: "default" }],
});
const names = (page: ListPage): string[] => page.items.map((each) => (JSON.parse(each) as { id: string }).id);

test("pages go on where the one before ended, while items come, go and change", () => {
  let list = Array.from({ length: 100 }, (_, index) => item(index));
  const seen: string[] = [];
  let cursor: string | undefined;
  const removed = new Set<string>();
  do {
    const page = pageOf(list, { limit: 9, sort: "-size,name", ...(cursor && { cursor }) });
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
  const page = pageOf(list, { limit: 5, fields: "name,nics.mac" });
  assert.equal(page.totalCount, 5);
  assert.equal(page.nextCursor, undefined);
  assert.equal(page.revision, 7);
  assert.deepEqual(JSON.parse(page.items[0] ?? ""), { id: "i-000", name: "n0", nics: [{ mac: "m0" }] });
  assert.deepEqual(names(pageOf(list, { filter: "size>=3" })), ["i-003"]);
  assert.deepEqual(names(pageOf(list, { sort: "size" })), ["i-000", "i-003", "i-001", "i-002", "i-004"]);
});

test("bad queries name their field", () => {
  const list = [item(1), item(2)];
  const refuse = (query: object, field: string): void =>
    assert.throws(() => pageOf(list, query), { code: "invalid_field", field });
  refuse({ filter: "x=1" }, "filter");
  refuse({ sort: "x" }, "sort");
  refuse({ sort: "name,name,name,name,name" }, "sort");
  refuse({ fields: "name,x" }, "fields");
  refuse({ cursor: "garbage" }, "cursor");
  const { nextCursor } = pageOf(list, { limit: 1 });
  refuse({ cursor: nextCursor, sort: "-name" }, "cursor");
});

test("a page's text is its JSON; one that would be too large ends before its limit and goes on", () => {
  const page = pageOf([item(1)], {});
  assert.deepEqual(JSON.parse(pageText(page)), { items: [item(1)], totalCount: 1, revision: 7 });
  const large = Array.from({ length: 30 }, (_, index) => ({ ...item(index), name: "x".repeat(2 ** 20) }));
  const first = pageOf(large, { limit: 30 });
  assert.equal(first.items.length, 7);
  const rest = pageOf(large, { limit: 30, cursor: first.nextCursor ?? "" });
  assert.equal(JSON.parse(rest.items[0] ?? "").id, "i-007");
});
