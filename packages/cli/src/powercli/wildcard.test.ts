/** PowerShell's wildcards. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { hasWildcard, unescaped, Wildcard } from "#powercli/wildcard.ts";

suite("wildcards", () => {
  test("match as PowerShell's", () => {
    for (const [pattern, matching, others] of [
      ["web*", ["web", "web1", "WEB-x"], ["aweb", "we"]],
      ["w?b", ["web", "w中b", "w🙂b"], ["wb", "weeb"]],
      ["web[12]", ["web1", "web2"], ["web3", "web12", "web[12]"]],
      ["web[a-c]", ["weba", "webC"], ["webd", "web-"]],
      ["web`[1`]", ["web[1]"], ["web1"]],
      ["a`*b", ["a*b"], ["axb"]],
      ["a.b+c", ["a.b+c"], ["axb+c", "a.bbc"]],
      ["[x", ["[x"], ["x"]],
      ["*", ["", "any\nthing"], []],
    ] as const) {
      const wildcard = new Wildcard(pattern);
      for (const text of matching) assert.ok(wildcard.matches(text), `${pattern} ~ ${text}`);
      for (const text of others) assert.ok(!wildcard.matches(text), `${pattern} !~ ${text}`);
    }
  });

  test("what every match contains is found for the server's filter", () => {
    assert.equal(new Wildcard("web*prod?").literal, "prod");
    assert.equal(new Wildcard("*").literal, "");
    assert.equal(new Wildcard("a`*b*c").literal, "a*b");
    assert.equal(new Wildcard("x[12]yz").literal, "yz");
  });

  test("a name that only looks like one", () => {
    assert.deepEqual(["web*", "a[1]", "a`[1`]", "a`*", "``*", "web"].map(hasWildcard), [
      true,
      true,
      false,
      false,
      true,
      false,
    ]);
    assert.equal(unescaped("a`[1`]"), "a[1]");
  });
});
