/** The store in a real PostgreSQL. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { AppError } from "#core/app-error.ts";
import { silentLogger } from "#core/log.ts";
import { systemClock } from "#core/system-clock.ts";
import { describeStore, eventDraft, type StoreUnderTest } from "#store/conformance.ts";
import { migrations } from "#store/migration/table.ts";
import { openPostgresStore, type PostgresStoreOptions } from "#store/postgres/postgres-store.ts";
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
