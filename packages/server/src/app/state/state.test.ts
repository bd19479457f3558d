/** A state folder that is not as it should be: refused by name, left as it is; and put right by restore and recover. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test, type TestContext } from "node:test";
import { newId } from "@innkeeper/contract/id.ts";
import { AppError } from "#core/app-error.ts";
import { silentLogger } from "#core/log.ts";
import { stateLayout } from "#core/state-layout.ts";
import { systemClock } from "#core/system-clock.ts";
import { AutomaticBackup, automaticBackups } from "#management/backup/automatic-backup.ts";
import { BackupService } from "#management/backup/backup-service.ts";
import { HostCredentials } from "#management/reconcile/host-credential.ts";
import { eventDraft, taskDraft } from "#store/conformance.ts";
import type { Store } from "#store/port.ts";
import { migrations } from "#store/migration/table.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";
import { openState, type OpenState } from "./open.ts";
import { type RecoverOptions, recoverState } from "./recover.ts";
import { finishReplace, replaceState, stageState } from "./replace.ts";
import { restoreState } from "./restore.ts";

const password = "correct horse";
const secret = "the-host's-own-secret";

async function emptyFolder(context: TestContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-state-"));
  context.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A closed state with a user, a host with a secret, a task under way, and a certificate. */
async function madeState(context: TestContext): Promise<string> {
  const folder = await emptyFolder(context);
  await using state = await openState(folder);
  await state.store.transaction(async (transaction) => {
    const host = hostDraft();
    await transaction.put("host", host);
    await new HostCredentials(state.secretBox).put(transaction, host.id, { uri: host.uri, ssh: { password: secret } });
    await transaction.put("user", userDraft("anna"));
    await transaction.put("task", taskDraft("running"));
    for (let index = 0; index < 200; index++) await transaction.put("event", eventDraft(`event ${index}`));
  });
  await mkdir(path.join(folder, "ca"));
  await writeFile(path.join(folder, "ca/authority.pem"), "-----BEGIN PRIVATE KEY-----");
  return folder;
}

function hostDraft() {
  return {
    id: newId("host"),
    name: "kvm1",
    uri: "qemu+ssh://root@127.0.0.1:1/system",
    description: "",
    tags: [],
    maintenance: false,
    connectionState: "connected" as const,
    connectionDetail: "",
    addedAt: "2026-01-01T00:00:00.000Z",
  };
}

function userDraft(name: string) {
  return {
    id: newId("user"),
    name,
    fullName: "",
    role: "operator" as const,
    disabled: false,
    createdAt: "2026-01-01T00:00:00.000Z",
  };
}

async function names(folder: string, kind: "host" | "user"): Promise<string[]> {
  await using state = await openState(folder);
  return state.store.transaction(async (transaction) => (await transaction.list(kind)).map((each) => each.name));
}

/** All files below a folder, with their content. */
async function content(folder: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const file = path.join(entry.parentPath, entry.name);
    if (entry.isFile()) found.set(path.relative(folder, file), (await readFile(file)).toString("base64"));
  }
  return found;
}

async function backupOf(folder: string): Promise<Buffer> {
  await using state = await openState(folder);
  await using running = await serviceOf(state, folder).create(password);
  return Buffer.concat(await Array.fromAsync(running.content));
}

function serviceOf({ store, secretBox }: OpenState, stateFolder: string): BackupService {
  return new BackupService({ store, secretBox, stateFolder, version: "1", clock: systemClock });
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 3000) yield bytes.subarray(at, at + 3000);
}

const restore = (stateFolder: string, bytes: Uint8Array, given = password, checkOnly = false) =>
  restoreState({ stateFolder, content: pieces(bytes), password: () => Promise.resolve(given), checkOnly });

const recover = (stateFolder: string, more: Partial<RecoverOptions> = {}) =>
  recoverState({
    stateFolder,
    hosts: [],
    force: false,
    allowPlainTcp: false,
    log: silentLogger,
    onProgress: () => {},
    signal: AbortSignal.timeout(60_000),
    ...more,
  });

interface Damage {
  readonly what: string;
  readonly break: (folder: string) => Promise<unknown>;
  /** The file that the message names. */
  readonly file: string;
  readonly message: RegExp;
}

const store = (folder: string): string => stateLayout(folder).store;
const key = (folder: string): string => stateLayout(folder).key;

/** As a process that was killed has left it, but for these bytes of what was not yet taken into the file. */
async function damagedLog(folder: string, at: number, length: number): Promise<void> {
  const [file, log] = [store(folder), `${store(folder)}-wal`];
  const held = await openSqliteStore({ file });
  for (let index = 0; index < 30; index++) {
    await held.transaction((transaction) => transaction.put("event", eventDraft(`late ${index}`)));
  }
  const [bytes, logBytes] = await Promise.all([readFile(file), readFile(log)]);
  await held[Symbol.asyncDispose]();
  await writeFile(file, bytes);
  await writeFile(log, logBytes.fill(0xa5, at, at + length));
}

const damages: readonly Damage[] = [
  {
    what: "store lost",
    break: (folder) => rm(store(folder)),
    file: "store.sqlite",
    message: /is gone, but .*secret\.key/,
  },
  {
    what: "store and key lost, authority there",
    break: async (folder) => Promise.all([rm(store(folder)), rm(key(folder))]),
    file: "store.sqlite",
    message: /is gone, but .*authority\.pem/,
  },
  {
    what: "store emptied",
    break: (folder) => truncate(store(folder)),
    file: "store.sqlite",
    message: /is empty \(0 bytes\)/,
  },
  {
    what: "store truncated",
    break: (folder) => truncate(store(folder), 5 * 4096),
    file: "store.sqlite",
    message: /is corrupted\. SQLite says/,
  },
  {
    what: "store overwritten",
    break: (folder) => writeFile(store(folder), randomBytes(50_000)),
    file: "store.sqlite",
    message: /is corrupted\. SQLite says: file is not a database/,
  },
  {
    what: "pages damaged",
    async break(folder) {
      const bytes = await readFile(store(folder));
      bytes.fill(0xa5, 4096 * 6, 4096 * 9);
      await writeFile(store(folder), bytes);
    },
    file: "store.sqlite",
    message: /is corrupted\. SQLite says/,
  },
  {
    what: "write-ahead log damaged",
    break: (folder) => damagedLog(folder, 32 + 200, 300),
    file: "store.sqlite",
    message: /is corrupted\. Its write-ahead log is damaged at frame 1: \d\d commits/,
  },
  {
    what: "write-ahead log's header damaged",
    break: (folder) => damagedLog(folder, 0, 8),
    file: "store.sqlite",
    message: /is corrupted\. The header of its write-ahead log is damaged/,
  },
  {
    what: "another program's",
    async break(folder) {
      await rm(store(folder));
      const other = new DatabaseSync(store(folder));
      other.exec("create table t (x)");
      other.close();
    },
    file: "store.sqlite",
    message: /database of another program/,
  },
  {
    what: "a newer version's",
    async break(folder) {
      const newer = { name: "from-the-future", up: async () => {} };
      const future = await openSqliteStore({ file: store(folder), migrations: [...migrations, newer] });
      await future[Symbol.asyncDispose]();
    },
    file: "",
    message: /newer Innkeeper \(its migration "from-the-future"\)/,
  },
  { what: "key lost", break: (folder) => rm(key(folder)), file: "secret.key", message: /is gone: the hosts' keys/ },
  {
    what: "key of another",
    break: (folder) => writeFile(key(folder), randomBytes(32).toString("base64url")),
    file: "secret.key",
    message: /is not the one of the store/,
  },
  { what: "key damaged", break: (folder) => writeFile(key(folder), "x\n"), file: "secret.key", message: /is damaged/ },
];

for (const { what, break: damage, file, message } of damages) {
  test(`start with ${what}: named, with what to do, and left as it is`, async (context) => {
    const folder = await madeState(context);
    await damage(folder);
    const before = await content(folder);
    await assert.rejects(openState(folder), (error: unknown) => {
      assert.ok(error instanceof AppError);
      assert.equal(error.code, "store_unavailable");
      assert.equal(error.retryable, false);
      assert.match(error.message, message);
      assert.ok(error.message.includes(file));
      assert.match(error.remedy ?? "", /inn re(store|cover)|restore a backup/);
      return true;
    });
    assert.deepEqual(await content(folder), before);
  });
}

test("a folder that never had a state gets one; one that is held is refused with the holder's process", async (context) => {
  const folder = await emptyFolder(context);
  await using _state = await openState(folder);
  for (const attempt of [() => openState(folder), () => recover(folder), () => restore(folder, Buffer.from("x"))]) {
    await assert.rejects(attempt(), (error: Error) => {
      assert.match(error.message, new RegExp(`process ${process.pid}\\) uses the state folder`));
      return true;
    });
  }
});

test("a read-only place is named as such", async () => {
  // /proc is a file system that nobody can make files in, root neither.
  await assert.rejects(openState("/proc"), { code: "store_unavailable" });
});

test("restored: everything as it was, old state kept, tasks ended, revisions never given twice, watches begin anew", async (context) => {
  const folder = await madeState(context);
  const bytes = await backupOf(folder);
  assert.ok(!bytes.includes(secret) && !bytes.includes("PRIVATE KEY"));
  const before = await content(folder);
  const target = await madeState(context);
  const report = await restore(target, bytes);
  assert.deepEqual([report.count.host, report.count.user], [1, 1]);
  const [aside = ""] = report.aside;
  assert.ok((await readdir(aside)).includes("store.sqlite"));
  const now = await content(target);
  for (const file of ["secret.key", "ca/authority.pem"]) assert.equal(now.get(file), before.get(file), file);
  await using state = await openState(target);
  const [host] = await state.store.transaction((transaction) => transaction.list("host"));
  assert.ok(host !== undefined);
  const address = await new HostCredentials(state.secretBox).address(state.store, host);
  assert.equal(address.ssh?.password, secret);
  const [task] = await state.store.transaction((transaction) => transaction.list("task"));
  assert.equal(task?.state, "failed");
  assert.match(task?.error?.detail ?? "", /restored from a backup of .* while this task was under way/);
  assert.ok((await state.store.revision()) > 1_000_000);
  await assert.rejects(state.store.changesSince(100, 10), { code: "precondition_failed" });
});

test("a backup that is wrong in any way changes nothing, and says what is wrong", async (context) => {
  const folder = await madeState(context);
  const bytes = await backupOf(folder);
  const changed = Buffer.from(bytes);
  const middle = bytes.length >> 1;
  changed[middle] = (changed[middle] ?? 0) ^ 1;
  const before = await content(folder);
  for (const [what, given, words, reason] of [
    ["wrong password", bytes, "wrong horse", /password is wrong/],
    ["changed", changed, password, /is damaged: it was changed/],
    ["cut", bytes.subarray(0, bytes.length - 40), password, /is damaged: it was changed, or cut off/],
    ["none", Buffer.from("hello\nworld\n"), password, /no backup that can be read/],
    ["empty", Buffer.alloc(0), password, /it is empty/],
  ] as const) {
    await assert.rejects(restore(folder, given, words), { code: "invalid_field", message: reason }, what);
    assert.deepEqual(await content(folder), before, what);
  }
  await restore(folder, bytes, password, true);
  assert.deepEqual(await content(folder), before, "checked only");
});

test("a backup that is made while writes storm is of one commit, and all writes go on", async (context) => {
  const folder = await madeState(context);
  let written = 0;
  let next = Promise.withResolvers<void>();
  let bytes: Buffer;
  {
    await using state = await openState(folder);
    const stop = new AbortController();
    const storm = writeStorm(state.store, stop.signal, () => {
      written++;
      next.resolve();
    });
    await using running = await serviceOf(state, folder).create(password);
    bytes = Buffer.concat(await Array.fromAsync(running.content));
    next = Promise.withResolvers();
    await next.promise;
    stop.abort();
    await storm;
  }
  assert.ok(written > 0);
  const target = await emptyFolder(context);
  await restore(target, bytes);
  await using restored = await openState(target);
  await restored.store.transaction(async (transaction) => {
    const events = (await transaction.list("event")).filter((event) => event.type === "storm");
    const count = await transaction.getPrivate("storm", "count");
    assert.equal(events.length, 2 * Number(count ?? 0), "whole transactions");
  });
});

/** Two events and a count in each transaction. */
async function writeStorm(store: Store, signal: AbortSignal, onWritten: () => void): Promise<void> {
  for (let count = 1; !signal.aborted; count++) {
    await store.transaction(async (transaction) => {
      await transaction.put("event", { ...eventDraft("one"), type: "storm" });
      await transaction.putPrivate("storm", "count", count);
      await transaction.put("event", { ...eventDraft("two"), type: "storm" });
    });
    onWritten();
    await new Promise(setImmediate);
  }
}

test("daily backups: one a day, so many are kept, opened by the state's own key alone", async (context) => {
  const folder = await madeState(context);
  const target = stateLayout(folder).backup;
  let now = Date.parse("2026-03-01T00:00:00.000Z");
  const clock = { ...systemClock, now: () => now };
  {
    await using state = await openState(folder);
    const backup = serviceOf(state, folder);
    const automatic = new AutomaticBackup(
      { backup, store: state.store, clock, log: silentLogger },
      { folder: target, keep: 2 },
    );
    for (let half = 0; half < 8; half++, now += 12 * 3_600_000) await automatic.runIfDue();
  }
  const made = await automaticBackups(target, now);
  assert.equal(made.length, 2);
  assert.deepEqual(await readdir(target), made.map(({ file }) => path.basename(file)).toSorted());
  const newest = await readFile(made[0]?.file ?? "");
  const other = await madeState(context);
  await assert.rejects(restore(other, newest), /key file is not the one of this backup/);
  await rm(store(folder));
  await restore(folder, newest);
  assert.deepEqual(await names(folder, "user"), ["anna"]);
});

test("a clock that was ahead for a while, or is behind, neither stops the daily backups nor costs one", async (context) => {
  const folder = await madeState(context);
  const target = stateLayout(folder).backup;
  const today = Date.parse("2026-03-01T00:00:00.000Z");
  let now = today;
  await using state = await openState(folder);
  const deps = { backup: serviceOf(state, folder), store: state.store, log: silentLogger };
  const clock = { ...systemClock, now: () => now };
  const automatic = new AutomaticBackup({ ...deps, clock }, { folder: target, keep: 2 });
  const runOn = async (...days: number[]): Promise<string[]> => {
    for (const day of days) {
      now = today + day * 86_400_000;
      await automatic.runIfDue();
    }
    const made = await automaticBackups(target, now);
    return made.map(({ file }) => path.basename(file).slice("auto-".length, "auto-2026-03-01".length));
  };
  assert.deepEqual(await runOn(0, 1), ["2026-03-02", "2026-03-01"]);
  // A year ahead, and set right; what is dated in the future is the last to be recovered from.
  assert.deepEqual(await runOn(366), ["2027-03-02", "2026-03-02"]);
  assert.deepEqual(await runOn(2, 3, 4), ["2026-03-05", "2026-03-04", "2027-03-02"]);
  // A dead clock's battery: those of before stay.
  assert.deepEqual(await runOn(-20_000, -19_999), ["1971-05-30", "1971-05-29", "2027-03-02", "2026-03-05"]);
  const events = await state.store.transaction((transaction) => transaction.list("event"));
  const odd = events.filter(({ severity, message }) => severity === "warning" && /in the future/.test(message));
  assert.equal(odd.length, 3 + 2);
});

test("a crash at any moment of a replacement leaves the old state or the new, and the other one kept", async (context) => {
  const folder = await emptyFolder(context);
  await writeFile(path.join(folder, "store.sqlite"), "old");
  await writeFile(path.join(folder, "secret.key"), "old");
  const staged = await stageState(folder);
  await writeFile(path.join(staged, "store.sqlite"), "new");
  await mkdir(path.join(staged, "ca"));
  await writeFile(path.join(staged, "ca/authority.pem"), "new");
  // Before the decision: what was staged is forgotten.
  const undecided = await copied(context, folder);
  await finishReplace(undecided);
  assert.deepEqual((await readdir(undecided)).toSorted(), ["secret.key", "store.sqlite"]);
  // Decided, and killed after so many of the moves.
  const aside = "old-2026";
  await rename(staged, path.join(folder, `.replace-${aside}`));
  const moves: ((at: string) => Promise<unknown>)[] = [
    async () => undefined,
    (at) => mkdir(path.join(at, aside)),
    (at) => rename(path.join(at, "secret.key"), path.join(at, aside, "secret.key")),
    (at) => rename(path.join(at, "store.sqlite"), path.join(at, aside, "store.sqlite")),
    (at) => rename(path.join(at, `.replace-${aside}`), path.join(at, ".placing")),
    (at) => rename(path.join(at, ".placing", "ca"), path.join(at, "ca")),
    (at) => rename(path.join(at, ".placing", "store.sqlite"), path.join(at, "store.sqlite")),
  ];
  for (let killedAfter = 0; killedAfter < moves.length; killedAfter++) {
    const at = await copied(context, folder);
    for (const move of moves.slice(0, killedAfter + 1)) await move(at);
    await finishReplace(at);
    assert.deepEqual(
      (await readdir(at)).toSorted(),
      ["ca", aside, "store.sqlite"].toSorted(),
      `killed after ${killedAfter}`,
    );
    assert.equal(await readFile(path.join(at, "store.sqlite"), "utf8"), "new");
    assert.equal(await readFile(path.join(at, aside, "store.sqlite"), "utf8"), "old");
    assert.equal(await readFile(path.join(at, aside, "secret.key"), "utf8"), "old");
  }
  const whole = await copied(context, undecided);
  const next = await stageState(whole);
  await writeFile(path.join(next, "store.sqlite"), "next");
  const kept = await replaceState(whole, next, new Date());
  assert.ok(kept !== undefined);
  assert.equal(await readFile(path.join(kept, "store.sqlite"), "utf8"), "old");
});

async function copied(context: TestContext, folder: string): Promise<string> {
  const to = await emptyFolder(context);
  await cp(folder, to, { recursive: true });
  return to;
}

test("recovered without any host: what can be read of the store is kept, and the damaged file, too", async (context) => {
  for (const what of ["pages damaged", "key lost", "store overwritten", "another program's"]) {
    const folder = await madeState(context);
    await damages.find((each) => each.what === what)?.break(folder);
    const damaged = await readFile(store(folder));
    const report = await recover(folder, { signal: AbortSignal.timeout(60_000) });
    assert.ok(report.aside !== undefined, what);
    assert.deepEqual(await readFile(store(report.aside)), damaged, what);
    const isLost = what === "store overwritten" || what === "another program's";
    assert.deepEqual(await names(folder, "user"), isLost ? [] : ["anna"], what);
    assert.deepEqual(await names(folder, "host"), isLost ? [] : ["kvm1"], what);
    assert.equal(report.keyIsNew, what === "key lost", what);
  }
});

test("recovered from the newest daily backup where the store gives nothing", async (context) => {
  const folder = await madeState(context);
  {
    await using state = await openState(folder);
    const deps = { backup: serviceOf(state, folder), store: state.store, clock: systemClock, log: silentLogger };
    await new AutomaticBackup(deps, { folder: stateLayout(folder).backup, keep: 3 }).runIfDue();
  }
  await rm(store(folder));
  const report = await recover(folder);
  assert.match(report.sources.join(), /^the backup .*\.innbackup$/);
  assert.deepEqual(await names(folder, "user"), ["anna"]);
  await using state = await openState(folder);
  const [host] = await state.store.transaction((transaction) => transaction.list("host"));
  assert.ok(host !== undefined);
  const address = await new HostCredentials(state.secretBox).address(state.store, host);
  assert.equal(address.ssh?.password, secret);
});

test("nothing is recovered where nothing is wrong, nor from a newer version's store", async (context) => {
  const folder = await madeState(context);
  const before = await names(folder, "host");
  await assert.rejects(recover(folder), { code: "conflict", message: /Nothing is wrong/ });
  await damages.find((each) => each.what === "a newer version's")?.break(folder);
  const kept = await content(folder);
  await assert.rejects(recover(folder), /from-the-future/);
  assert.deepEqual(await content(folder), kept);
  assert.deepEqual(before, ["kvm1"]);
});
