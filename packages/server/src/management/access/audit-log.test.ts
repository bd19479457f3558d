/** The trail on disk: newest first over all its files, whatever its lines' length, bounded, and readable after a crash. */
import assert from "node:assert/strict";
import { appendFileSync, mkdtempDisposableSync, readdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { AuditLog } from "#management/access/audit-log.ts";
import { auditPage } from "#management/access/audit-query.ts";
import type { AuditRecord } from "#management/access/audit.ts";

function entry(index: number, change: Partial<AuditRecord> = {}): AuditRecord {
  return {
    time: "2026-11-23T08:00:00.000Z",
    address: "192.0.2.1",
    action: "vm.start",
    result: "succeeded",
    method: "POST",
    path: `/${index}`,
    httpStatus: 200,
    durationMs: 1,
    requestId: "r",
    ...change,
  };
}

const signal = AbortSignal.timeout(20_000);

async function paths(log: AuditLog): Promise<string[]> {
  return (await Array.fromAsync(log.entries(signal))).map((each) => each.path);
}

test("it is read newest first, after a restart and a torn line, too, and is its owner's alone", async () => {
  using folder = mkdtempDisposableSync(path.join(tmpdir(), "inn-audit-"));
  const file = path.join(folder.path, "audit.log");
  {
    using log = new AuditLog(folder.path);
    log.append(entry(1));
    log.append(entry(2, { user: "x\u202e\n中", path: `/2${"y".repeat(600_000)}` }));
  }
  assert.equal(statSync(file).mode & 0o777, 0o600);
  appendFileSync(file, '{"id":"torn","ti');
  using log = new AuditLog(folder.path);
  log.append(entry(3));
  assert.deepEqual(
    (await paths(log)).map((each) => each.slice(0, 2)),
    ["/3", "/2", "/1"],
  );
});

test("it is bounded: the oldest file goes, the order stays", async () => {
  using folder = mkdtempDisposableSync(path.join(tmpdir(), "inn-audit-"));
  using log = new AuditLog(folder.path, { fileMaxBytes: 1000 });
  for (let index = 0; index < 200; index++) log.append(entry(index));
  assert.equal(readdirSync(folder.path).length, 8);
  const all = await paths(log);
  assert.ok(all.length > 20 && all.length < 60, `${all.length}`);
  assert.deepEqual(
    all,
    Array.from(all, (_, index) => `/${199 - index}`),
  );
});

test("pages: filtered, each entry once, to the end; what is unknown is refused", async () => {
  using folder = mkdtempDisposableSync(path.join(tmpdir(), "inn-audit-"));
  using log = new AuditLog(folder.path);
  for (let index = 0; index < 10; index++) log.append(entry(index, { user: index % 2 === 0 ? "alice" : "bob" }));
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await auditPage(log.entries(signal), { filter: "user=alice", limit: 2, cursor });
    seen.push(...page.items.map((each) => each.path));
    cursor = page.nextCursor;
    log.append(entry(99, { user: "alice" }));
  } while (cursor !== undefined);
  assert.deepEqual(seen, ["/8", "/6", "/4", "/2", "/0"]);
  const refused = (query: object, field: string) =>
    assert.rejects(auditPage(log.entries(signal), query), { code: "invalid_field", field });
  await refused({ filter: "nonsense=1" }, "filter");
  await refused({ cursor: "nothing" }, "cursor");
});
