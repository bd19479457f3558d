import assert from "node:assert/strict";
import { test } from "node:test";
import { treeWithout, withDescendants } from "./tree.ts";

type Id = `snap-${string}`;
const node = (id: Id, parentId: Id | null, current = false) => ({ id, parentId, current });
const root = node("snap-a", null);
const all = [root, node("snap-b", "snap-a"), node("snap-c", "snap-b", true), node("snap-d", "snap-a")];

test("a branch is the snapshot and all below it", () => {
  assert.deepEqual(
    withDescendants(all, root).map((each) => each.id),
    ["snap-a", "snap-b", "snap-d", "snap-c"],
  );
});

test("what is below a deleted snapshot moves up, and so does the current one", () => {
  assert.deepEqual(treeWithout(all, new Set(["snap-b", "snap-c"])), [
    node("snap-a", null, true),
    node("snap-d", "snap-a"),
  ]);
  assert.deepEqual(treeWithout(all, new Set(["snap-a"])), [
    node("snap-b", null),
    node("snap-c", "snap-b", true),
    node("snap-d", null),
  ]);
  assert.deepEqual(treeWithout([root], new Set(["snap-a"])), []);
});
