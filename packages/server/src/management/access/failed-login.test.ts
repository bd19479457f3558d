/** Failed logins: the first is told at once, the rest of the minute in one event, and no more events than addresses that fit. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "#core/clock.ts";
import { systemClock } from "#core/system-clock.ts";
import { FailedLogins } from "#management/access/failed-login.ts";

/** A clock whose minutes end when the test says so. */
function fixture() {
  const told: string[] = [];
  const sleeping: (() => void)[] = [];
  const clock: Clock = {
    ...systemClock,
    sleep(_, signal) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      sleeping.push(resolve);
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      return promise;
    },
  };
  const logins = new FailedLogins(clock, async (message) => void told.push(message));
  const endMinute = async (): Promise<void> => {
    for (const end of sleeping.splice(0)) end();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { told, logins, endMinute };
}

test("the first of an address is told at once, the rest of its minute together", async () => {
  const { told, logins, endMinute } = fixture();
  await logins.note("root", "2001:db8::1");
  for (const name of ["root", "admin", "alice", "bob", "carol"]) await logins.note(name, "2001:db8::2");
  await logins.note("root", "192.0.2.1");
  assert.deepEqual(told.splice(0), [
    "a login as root from 2001:db8::1 failed",
    "a login as root from 192.0.2.1 failed",
  ]);
  await endMinute();
  assert.deepEqual(told.splice(0), [
    "5 more logins from 2001:db8:0:0::/64 failed within a minute, as root, admin, alice and others",
  ]);
  await logins.note("root", "2001:db8::3");
  assert.deepEqual(told, ["a login as root from 2001:db8::3 failed"]);
  await logins[Symbol.asyncDispose]();
});

test("guessing from everywhere makes few events, and what is untold is told at the end", async () => {
  const { told, logins } = fixture();
  for (let index = 0; index < 500; index++) await logins.note("admin", `192.0.${index >> 8}.${index & 255}`);
  assert.equal(told.length, 11);
  await logins[Symbol.asyncDispose]();
  assert.equal(told.length, 12);
  assert.equal(told.at(-1), "489 more logins from other addresses failed within a minute, as admin");
});
