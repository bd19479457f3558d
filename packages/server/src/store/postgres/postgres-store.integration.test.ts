/** The store in a real PostgreSQL. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import pg from "pg";
import { AppError } from "#core/app-error.ts";
import { silentLogger } from "#core/log.ts";
import { systemClock } from "#core/system-clock.ts";
import { jumpingClock } from "#core/test-support/jumping-clock.ts";
import { describeStore, eventDraft, type StoreUnderTest } from "#store/conformance.ts";
import { migrations } from "#store/migration/table.ts";
import { postgresAddress } from "#store/postgres/address.ts";
import { openConnections } from "#store/postgres/connection.ts";
import { translatePostgresError } from "#store/postgres/error.ts";
import { readLease, takeLease } from "#store/postgres/lease.ts";
import type { ChangeEntry, ChangeGap, PrivateEntry } from "#store/port.ts";
import { openPostgresStore, type PostgresStoreOptions } from "#store/postgres/postgres-store.ts";
import { setUpSchema } from "#store/postgres/schema-setup.ts";
import { assertBroughtUp, fillOldVersion } from "#store/test-support/old-version.ts";
import { TcpProxy } from "#store/postgres/test-support/tcp-proxy.ts";
import { PostgresServer } from "#store/postgres/test-support/postgres-server.ts";

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start();
});
after(() => server[Symbol.asyncDispose]());

async function open(url: string, options: Partial<PostgresStoreOptions> = {}) {
  const opened = await openPostgresStore({ url, clock: systemClock, log: silentLogger, ...options });
  return {
    ...opened,
    async [Symbol.asyncDispose]() {
      await opened.leadership[Symbol.asyncDispose]();
      await opened.store[Symbol.asyncDispose]();
    },
  };
}

async function openLeading(url: string, options: Partial<PostgresStoreOptions> = {}) {
  const opened = await open(url, options);
  await opened.leadership.decided;
  return opened;
}

async function underTest(): Promise<StoreUnderTest> {
  const url = await server.database();
  let opened = await openLeading(url);
  return {
    get store() {
      return opened.store;
    },
    async reopen() {
      await opened[Symbol.asyncDispose]();
      opened = await openLeading(url);
      return opened.store;
    },
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

describeStore("PostgreSQL", underTest);

/** The database below a store, with the schema of some version. */
async function openPostgresDatabase(url: string, applicable = migrations) {
  const address = postgresAddress(url);
  const { database } = openConnections(address, { idleTransactionMs: 0, connectionsMax: 2 });
  try {
    await setUpSchema(database, address.title, applicable);
    return database;
  } catch (error) {
    await database.destroy();
    throw error;
  }
}

function databaseOf(url: string): string {
  return new URL(url).pathname.slice(1);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const signal = AbortSignal.timeout(30_000);
  while (!(await condition())) await systemClock.sleep(50, signal);
}

describe("PostgreSQL alone", () => {
  test("a store is brought up from every version of its schema, and keeps what it has", async () => {
    for (let version = 1; version < migrations.length; version++) {
      const url = await server.database();
      const first = await openPostgresDatabase(url, migrations.slice(0, version));
      await fillOldVersion(first);
      await first.destroy();
      await using opened = await openLeading(url);
      await assertBroughtUp(opened.store);
      await opened.store.probe();
    }
  });

  test("a schema of a newer version is refused by name and left as it is", async () => {
    const url = await server.database();
    const newer = { name: "from-the-future", up: async () => {} };
    await (await openPostgresDatabase(url, [...migrations, newer])).destroy();
    await assert.rejects(open(url), /from-the-future/);
    await (await openPostgresDatabase(url, [...migrations, newer])).destroy();
  });

  test("a migration that fails leaves the version before it", async () => {
    const url = await server.database();
    await (await openPostgresDatabase(url)).destroy();
    const failing = { name: "failing", up: () => Promise.reject(new Error("planned")) };
    await assert.rejects(openPostgresDatabase(url, [...migrations, failing]), /planned/);
    await using opened = await openLeading(url);
    assert.equal(await opened.store.revision(), 0);
  });

  test("two that open an empty database at once make one store, and one of them leads", async () => {
    const url = await server.database();
    const both = await Promise.all([open(url), open(url)]);
    await Promise.all(both.map((each) => each.leadership.decided));
    const terms = both.map((each) => each.leadership.term);
    assert.equal(terms.filter((term) => term !== undefined).length, 1, String(terms));
    for (const each of both) await each[Symbol.asyncDispose]();
  });

  test("another program's schema, an encoding that loses characters, and URLs that are not safe are refused", async () => {
    const url = await server.database();
    await server.ask("create schema innkeeper; create table innkeeper.guest (x int)", databaseOf(url));
    await assert.rejects(open(url), /another program/);
    await server.ask("create database latin template template0 encoding 'LATIN1' locale 'C'");
    await assert.rejects(open(server.url("latin")), /encoding is LATIN1/);
    for (const [bad, why] of [
      ["mysql://x/y", /must begin with postgres/],
      ["postgres://db.example/", /name one database/],
      ["postgres://db.example/inn?sslmode=disable", /in the clear/],
      ["postgres://db.example/inn?sslmode=require", /verify-full/],
      ["postgres://db.example/inn?options=-cfsync", /parameter options/],
      ["postgres://u:secret%@db.example/inn?sslmode=disable", /./],
    ] as const) {
      await assert.rejects(open(bad), (error: Error) => {
        assert.match(error.message, why);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      });
    }
  });
});

/** Refused in these words, with what to do, and without the password. */
async function refused(url: string, code: string, message: RegExp): Promise<void> {
  await assert.rejects(open(url), (error: unknown) => {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.doesNotMatch(JSON.stringify(error.message), /right|wrong-password/);
    assert.ok((error.remedy ?? "").length > 0);
    return true;
  });
}

describe("PostgreSQL's refusals", () => {
  test("a wrong password, an unknown database, nobody there, a user without rights", async () => {
    await server.ask("alter role postgres password 'right'");
    const name = databaseOf(await server.database());
    await refused(server.tcpUrl(name, "wrong-password"), "store_unavailable", /refuses this user or password/);
    await refused(server.tcpUrl("nowhere", "right"), "store_unavailable", /no such database/);
    await refused(server.tcpUrl(name, "right", 1), "store_unavailable", /can't be reached/);
    await refused(`postgres:///x?host=${server.folder}/none`, "store_unavailable", /can't be reached/);
    await server.ask("create role guest login");
    await refused(server.url(name).replace("postgres@", "guest@"), "store_unavailable", /may not do/);
    await using opened = await openLeading(server.tcpUrl(name, "right"));
    await opened.store.probe();
  });

  test("each SQLSTATE that a store meets has its meaning, and what is no refusal stays what it is", () => {
    for (const [state, code, retryable] of [
      ["08006", "store_unavailable", true],
      ["28P01", "store_unavailable", false],
      ["40001", "store_unavailable", true],
      ["53100", "disk_full", true],
      ["53300", "store_unavailable", true],
      ["57P01", "store_unavailable", true],
      ["57014", "store_unavailable", true],
      ["58030", "store_unavailable", true],
      ["XX001", "store_unavailable", false],
    ] as const) {
      const error = new pg.DatabaseError("words", 0, "error");
      error.code = state;
      const known = translatePostgresError(error, "postgres://db/inn");
      assert.ok(known instanceof AppError, state);
      assert.equal(known.code, code, state);
      assert.equal(known.retryable, retryable, state);
    }
    const bug = new pg.DatabaseError("syntax", 0, "error");
    bug.code = "42601";
    assert.equal(translatePostgresError(bug, "x"), bug);
  });

  test(
    "a full disk under PostgreSQL refuses the write, and is over when there is space",
    { timeout: 60_000 },
    async () => {
      const url = await server.database();
      await using opened = await openLeading(url);
      const draft = eventDraft("kept");
      await opened.store.transaction((transaction) => transaction.put("event", draft));
      // PostgreSQL's own refusal, raised where the table is written: a disk of this machine's is not filled for it.
      await server.ask(
        `create function innkeeper.full() returns trigger language plpgsql as $$ begin raise exception sqlstate '53100'; end $$;
       create trigger full_disk before insert on innkeeper.change execute function innkeeper.full()`,
        databaseOf(url),
      );
      const write = () => opened.store.transaction((transaction) => transaction.put("event", eventDraft("lost")));
      await assert.rejects(write(), { code: "disk_full" });
      assert.equal(await opened.store.revision(), 1);
      await server.ask("drop trigger full_disk on innkeeper.change", databaseOf(url));
      assert.equal((await write()).revision, 2);
    },
  );

  test(
    "a server that is restarted under a store is found again, and nothing that was told is lost",
    { timeout: 60_000 },
    async () => {
      await using own = await PostgresServer.start();
      await using opened = await openLeading(await own.database(), { takeoverMs: 2000 });
      await opened.store.transaction((transaction) => transaction.put("event", eventDraft("before")));
      await own.stop("SIGQUIT");
      const write = () => opened.store.transaction((transaction) => transaction.put("event", eventDraft("after")));
      await assert.rejects(write(), { code: "store_unavailable" });
      await own.start();
      await until(() =>
        write().then(
          () => true,
          () => false,
        ),
      );
      const messages = await opened.store.transaction((transaction) => transaction.list("event"));
      assert.deepEqual(messages.map(({ message }) => message).toSorted(), ["after", "before"]);
    },
  );

  test("a commit whose answer is lost with the connection is known for what it was", { timeout: 60_000 }, async () => {
    const url = await server.database();
    await using opened = await openLeading(url);
    const heard: number[] = [];
    opened.store.onCommit((changes) => heard.push(...changes.map((change) => change.revision)));
    // The server ends the connection while it commits: a deferred trigger runs inside COMMIT.
    await server.ask(
      `create function innkeeper.cut() returns trigger language plpgsql as $$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$;
       create constraint trigger cut after insert on innkeeper.change deferrable initially deferred for each row execute function innkeeper.cut()`,
      databaseOf(url),
    );
    const write = (message: string) =>
      opened.store.transaction((transaction) => transaction.put("event", eventDraft(message)));
    await assert.rejects(write("cut before it was committed"), { code: "store_unavailable" });
    await server.ask("drop trigger cut on innkeeper.change", databaseOf(url));
    assert.equal((await write("kept")).revision, 1);
    assert.deepEqual(heard, [1]);
  });
});

describe("PostgreSQL shared by several", () => {
  const isStoreUnavailable = { code: "store_unavailable" };

  test("who follows reads what who leads has written, is told of it in order, and may not write", async () => {
    const url = await server.database();
    await using leader = await openLeading(url);
    await leader.store.transaction((transaction) => transaction.put("event", eventDraft("before")));
    await using follower = await openLeading(url);
    assert.equal(follower.leadership.term, undefined);
    const heard: ChangeEntry[] = [];
    const sessions: PrivateEntry[][] = [];
    follower.store.onCommit((changes) => heard.push(...changes));
    follower.store.onPrivateChange("credential", (entries) => sessions.push([...entries]));
    for (let index = 0; index < 50; index++) {
      await leader.store.transaction(async (transaction) => {
        await transaction.put("event", eventDraft(`${index}`));
        await transaction.put("event", eventDraft(`${index} again`));
        if (index === 7) await transaction.putPrivate("credential", "key", { type: "session" });
      });
      // What was told is never behind what is read.
      const read = await follower.store.transaction((transaction) => transaction.revision());
      assert.ok(read >= (heard.at(-1)?.revision ?? 0));
      assert.equal(heard.at(-1)?.revision, read);
    }
    assert.deepEqual(heard, await leader.store.changesSince(1, 1000));
    assert.deepEqual(sessions, [[{ key: "key", value: { type: "session" } }]]);
    await assert.rejects(
      follower.store.transaction((transaction) => transaction.put("event", eventDraft("no"))),
      isStoreUnavailable,
    );
    await assert.rejects(follower.store.probe(), /does not lead/);
    await assert.rejects(follower.store.prune({ changes: 0, events: 0, tasks: 0 }), isStoreUnavailable);
  });

  test("who stood still for longer than the change log is kept is told what is different, and follows on", async () => {
    const url = await server.database();
    await using leader = await openLeading(url);
    const write = (message: string) =>
      leader.store.transaction((transaction) => transaction.put("event", eventDraft(message)));
    const [same, changed, gone] = [await write("same"), await write("changed"), await write("gone")];
    await using follower = await openLeading(url);
    const gaps: ChangeGap[] = [];
    const heard: number[] = [];
    follower.store.onGap((gap) => gaps.push(gap));
    follower.store.onCommit((changes) => heard.push(...changes.map((change) => change.revision)));
    const standing = Promise.withResolvers<void>();
    const stood = Promise.withResolvers<void>();
    const still = follower.store.transaction(() => {
      stood.resolve();
      return standing.promise;
    });
    await stood.promise;
    const { revision: _, ...draft } = changed;
    await leader.store.transaction((transaction) => transaction.put("event", { ...draft, message: "anew" }));
    await leader.store.transaction((transaction) => transaction.delete("event", gone.id));
    const added = await write("added");
    await leader.store.prune({ changes: 1, events: 100, tasks: 100 });
    standing.resolve();
    await still;
    assert.equal(await follower.store.revision(), added.revision);
    assert.deepEqual(heard, []);
    const [gap, ...more] = gaps;
    assert.deepEqual(more, []);
    assert.equal(gap?.revision, added.revision);
    assert.deepEqual(
      gap.changes.map(({ id, revision, operation }) => ({ id, revision, operation })),
      [
        { id: changed.id, revision: 4, operation: "put" },
        { id: added.id, revision: 6, operation: "put" },
      ],
    );
    assert.deepEqual(
      [same, changed, gone, added].map(({ id }) => gap.has("event", id)),
      [true, true, false, true],
    );
    const next = await write("next");
    assert.equal(await follower.store.revision(), next.revision);
    assert.deepEqual(heard, [next.revision]);
  });

  test("who follows is told at once, without asking, and still hears when the way to it was cut", async () => {
    const url = await server.database();
    await using leader = await openLeading(url);
    await using follower = await openLeading(url);
    const heard: ChangeEntry[] = [];
    follower.store.onCommit((changes) => heard.push(...changes));
    for (let round = 1; round <= 3; round++) {
      await leader.store.transaction((transaction) => transaction.put("event", eventDraft("told")));
      await until(async () => heard.length === round);
      await server.ask(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${databaseOf(url)}' and application_name = 'innkeeper-election'`,
      );
      await until(async () => leader.leadership.term !== undefined);
    }
  });

  test("a leader that was followed by another can write nothing, not even what it had begun", async () => {
    const url = await server.database();
    await using old = await openLeading(url);
    await old.store.transaction((transaction) => transaction.put("event", eventDraft("kept")));
    const client = new pg.Client({ connectionString: url, ...postgresAddress(url).config });
    await client.connect();
    await client.query("set search_path to innkeeper");
    const seen = await readLease(client);
    const begun = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const writing = old.store.transaction(async (transaction) => {
      await transaction.put("event", eventDraft("under way"));
      begun.resolve();
      await goOn.promise;
    });
    await begun.promise;
    // Taking over waits for it: what was begun before is over before anything else begins.
    const taking = takeLease(client, seen, {
      holder: "another",
      takeoverMs: 1000,
      address: undefined,
      schemaVersion: migrations.length,
    });
    goOn.resolve();
    await writing;
    assert.notEqual(await taking, "lost");
    await assert.rejects(
      old.store.transaction((transaction) => transaction.put("event", eventDraft("too late"))),
      isStoreUnavailable,
    );
    assert.equal(old.leadership.term, undefined);
    await assert.rejects(old.store.prune({ changes: 0, events: 0, tasks: 0 }), isStoreUnavailable);
    const { rows } = await client.query("select count(*)::int as n from change");
    assert.deepEqual(rows, [{ n: 2 }]);
    await client.end();
  });

  test("clocks that jump by hours move no lease: who leads goes on, and is followed when it is gone", async () => {
    const url = await server.database();
    const options = { takeoverMs: 400, clock: jumpingClock() };
    const old = await openLeading(url, options);
    await using other = await openLeading(url, { ...options, clock: jumpingClock() });
    const first = old.leadership.term;
    assert.ok(first !== undefined);
    // Renewed often enough for who counted by such clocks to take over many times.
    const renewal = async (): Promise<number> => {
      const rows = await server.ask<{ renewal: string }>("select renewal from innkeeper.lease", databaseOf(url));
      return Number(rows[0]?.renewal);
    };
    const begin = await renewal();
    await until(async () => {
      await old.store.transaction((transaction) => transaction.put("event", eventDraft("written")));
      return (await renewal()) >= begin + 20;
    });
    assert.deepEqual([old.leadership.term, other.leadership.term], [first, undefined]);
    await old[Symbol.asyncDispose]();
    await until(async () => (other.leadership.term ?? 0) > first);
  });

  test("a lease that has lapsed stays so, also when it is renewed in time: who asked meanwhile has let go", async () => {
    const url = await server.database();
    let laterMs = 0;
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + laterMs };
    const takeoverMs = 4000;
    await using stood = await openLeading(url, { takeoverMs, clock });
    const first = stood.leadership.term ?? 0;
    const seen: (number | undefined)[] = [];
    stood.leadership.onChange(() => seen.push(stood.leadership.term));
    // As after standing still: the timers have not run yet.
    laterMs = takeoverMs;
    assert.equal(stood.leadership.term, undefined);
    await until(async () => stood.leadership.term !== undefined);
    assert.ok((stood.leadership.term ?? 0) > first, "under a new token");
    assert.deepEqual(seen, [undefined, stood.leadership.term], "and all were told");
  });

  test("the server's clock is asked for nothing that decides who leads", () => {
    // https://www.postgresql.org/docs/15/functions-datetime.html#FUNCTIONS-DATETIME-CURRENT
    const words =
      /\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\(|current_time|localtime/i;
    for (const file of ["lease.ts", "election.ts"]) {
      assert.doesNotMatch(readFileSync(path.join(import.meta.dirname, file), "utf8"), words, file);
    }
  });

  test("a leader that stops gives way at once; one that stands still in a transaction holds nobody up", async () => {
    const url = await server.database();
    // By waiting, nobody would follow it in the time that a test has.
    const first = await openLeading(url, { takeoverMs: 60_000 });
    const second = await open(url, { takeoverMs: 1000 });
    await systemClock.sleep(1500);
    assert.equal(second.leadership.term, undefined, "it counts as the leader does");
    await first[Symbol.asyncDispose]();
    await until(async () => second.leadership.term !== undefined);
    // The lock of a leader's transaction, and nothing more from it.
    const still = new pg.Client(postgresAddress(url).config);
    still.on("error", () => {});
    await still.connect();
    await still.query("set search_path to innkeeper; set idle_in_transaction_session_timeout to 1500; begin");
    await still.query("select from lease for key share");
    await second[Symbol.asyncDispose]();
    const errors: unknown[] = [];
    const log = { ...silentLogger, error: (_fields: object, message: string) => void errors.push(message) };
    await using third = await openLeading(url, { takeoverMs: 1000, log });
    assert.ok(third.leadership.term !== undefined);
    assert.deepEqual(errors, [], "the store can be reached: it is a lock that is waited for");
    await third.store.probe();
    await still.end().catch(() => {});
  });

  test("a newer version ends the older one's lead before it changes the schema", async () => {
    const url = await server.database();
    const ended = Promise.withResolvers<Error>();
    await using old = await openLeading(url, { takeoverMs: 1000, onOtherSchema: ended.resolve });
    await old.store.probe();
    const newer = { name: "from-the-future", up: async () => {} };
    await (await openPostgresDatabase(url, [...migrations, newer])).destroy();
    await assert.rejects(old.store.probe(), isStoreUnavailable);
    assert.match((await ended.promise).message, /another version/);
  });

  test("a commit that was made although its answer was lost is taken as made", { timeout: 60_000 }, async () => {
    await server.ask("alter role postgres password 'right'");
    await using proxy = await TcpProxy.start(server.port);
    const name = databaseOf(await server.database());
    await using opened = await openLeading(server.tcpUrl(name, "right", proxy.port));
    const heard: number[] = [];
    opened.store.onCommit((changes) => heard.push(...changes.map((change) => change.revision)));
    for (let round = 1; round <= 3; round++) {
      proxy.swallowAnswerOf("commit\u0000");
      const written = await opened.store.transaction((transaction) => transaction.put("event", eventDraft(`${round}`)));
      assert.equal(written.revision, round);
    }
    assert.deepEqual(heard, [1, 2, 3]);
    assert.equal(proxy.swallowed, 3);
  });
});
