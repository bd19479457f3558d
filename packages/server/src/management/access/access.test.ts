/** Login, sessions, tokens, roles, the limits on guessing, and what must never be lost or shown. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessFixture } from "#management/access/access-fixture.ts";
import { sessionMs } from "#management/access/credential-table.ts";
import { LoginLimit } from "#management/access/login-limit.ts";
import { hashPassword, randomPassword, verifyPassword } from "#management/access/password.ts";

const here = "192.0.2.1";
const alice = { name: "alice", password: "correct horse", role: "operator" } as const;

test("passwords: argon2id with OWASP's parameters, verified, and as slow for nobody", async () => {
  const hash = await hashPassword("pässword");
  assert.match(hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  assert.notEqual(hash, await hashPassword("pässword"));
  assert.equal(await verifyPassword("pa\u0308ssword", hash), true, "another Unicode form of the same text");
  assert.equal(await verifyPassword("password", hash), false);
  assert.equal(await verifyPassword("", undefined), false);
  assert.match(randomPassword(), /^([a-z2-9]{5}-){3}[a-z2-9]{5}$/);
});

test("the first administrator is made once", async () => {
  await using under = await accessFixture();
  const password = await under.users.createFirstAdministrator();
  assert.ok(password);
  assert.equal(await under.users.createFirstAdministrator(), undefined);
  const session = await under.users.login({ name: "admin", password }, here);
  const principal = await under.access.authenticate(session.secret);
  under.access.authorize(principal, "user.delete");
  assert.ok(under.inventory.require("user", "admin").lastLoginAt);
});

test("who has the machine can make admin an administrator again", async () => {
  await using under = await accessFixture();
  await under.users.createFirstAdministrator("first password");
  await under.users.create({ ...alice, role: "administrator" });
  await under.users.change(under.inventory.require("user", "admin").id, { disabled: true, role: "read-only" });
  const password = await under.users.resetAdministrator();
  const { user } = await under.users.login({ name: "admin", password }, here);
  assert.equal(user.role, "administrator");
  await under.users.delete(user.id);
  await under.users.login({ name: "admin", password: await under.users.resetAdministrator() }, here);
});

test("sessions outlive a restart, slide while used, end by themselves and by logout", async () => {
  await using under = await accessFixture();
  const user = await under.users.create(alice);
  const { secret } = await under.users.login(alice, here);
  const again = await under.open();
  const principal = await again.access.authenticate(secret);
  assert.equal(principal.user.id, user.id);
  under.time.aheadMs += sessionMs - 1000;
  await again.access.authenticate(secret);
  under.time.aheadMs += sessionMs - 1000;
  await again.access.authenticate(secret);
  let ended = 0;
  again.access.onEnd(principal, () => ended++);
  await again.users.logout(principal);
  assert.equal(ended, 1);
  assert.equal(again.access.holds(principal), false);
  await assert.rejects(again.access.authenticate(secret), { code: "unauthenticated" });
  const { secret: second } = await again.users.login(alice, here);
  under.time.aheadMs += sessionMs + 1;
  await assert.rejects(again.access.authenticate(second), { code: "unauthenticated" });
  await again.credentials.prune();
  const stored = await under.store.transaction((transaction) => transaction.listPrivate("credential"));
  assert.deepEqual(stored, []);
});

test("secrets are stored as digests alone", async () => {
  await using under = await accessFixture();
  await under.users.create(alice);
  const { secret } = await under.users.login(alice, here);
  const principal = await under.access.authenticate(secret);
  const { secret: token } = await under.users.createToken(principal, { name: "ci" });
  const everything = await under.store.transaction(async (transaction) =>
    JSON.stringify([
      await transaction.listPrivate("credential"),
      await transaction.listPrivate("password"),
      await transaction.list("user"),
      await transaction.list("token"),
    ]),
  );
  for (const text of [secret, token, alice.password]) assert.ok(!everything.includes(text));
});

test("tokens: used, expired, revoked, another's hidden", async () => {
  await using under = await accessFixture();
  await under.users.create(alice);
  await under.users.create({ ...alice, name: "bob" });
  const principal = await under.access.authenticate((await under.users.login(alice, here)).secret);
  const bob = await under.access.authenticate((await under.users.login({ ...alice, name: "bob" }, here)).secret);
  const { secret, token } = await under.users.createToken(principal, { name: "ci" });
  await under.access.authenticate(secret);
  assert.ok(under.inventory.require("token", token.id).lastUsedAt);
  const brief = await under.users.createToken(principal, { name: "brief", expiresInDays: 1 });
  await under.access.authenticate(secret);
  await under.access.authenticate(brief.secret);
  under.time.aheadMs += 86_400_001;
  await assert.rejects(under.access.authenticate(brief.secret), { code: "unauthenticated" });
  await assert.rejects(under.users.deleteToken(bob, token.id), { code: "not_found" });
  await under.users.deleteToken(principal, token.id);
  await assert.rejects(under.access.authenticate(secret), { code: "unauthenticated" });
});

test("a token makes no tokens", async () => {
  await using under = await accessFixture();
  await under.users.create(alice);
  const session = await under.access.authenticate((await under.users.login(alice, here)).secret);
  const { secret } = await under.users.createToken(session, { name: "ci", expiresInDays: 1 });
  const byToken = await under.access.authenticate(secret);
  await assert.rejects(under.users.createToken(byToken, { name: "for ever" }), { code: "forbidden" });
  assert.equal(under.inventory.list("token").length, 1);
});

test("roles: what is not granted is refused, and a change counts at once", async () => {
  await using under = await accessFixture();
  await under.users.createFirstAdministrator();
  const user = await under.users.create(alice);
  const principal = await under.access.authenticate((await under.users.login(alice, here)).secret);
  under.access.authorize(principal, "vm.create");
  assert.throws(() => under.access.authorize(principal, "host.add"), {
    code: "forbidden",
    fault: { privilege: "host.add" },
  });
  await under.users.change(user.id, { role: "read-only" });
  assert.throws(() => under.access.authorize(principal, "vm.create"), { code: "forbidden" });
  await under.users.change(user.id, { disabled: true });
  assert.equal(under.access.holds(principal), false);
  await assert.rejects(under.users.login(alice, here), { code: "wrong_credentials" });
});

test("the last administrator can't be lost, a name is taken once, a stale change is refused", async () => {
  await using under = await accessFixture();
  await under.users.createFirstAdministrator();
  const admin = under.inventory.require("user", "admin");
  await assert.rejects(under.users.delete(admin.id), { code: "conflict" });
  await assert.rejects(under.users.change(admin.id, { role: "operator" }), { code: "conflict" });
  await assert.rejects(under.users.change(admin.id, { disabled: true }), { code: "conflict" });
  await assert.rejects(under.users.create({ ...alice, name: "admin" }), { code: "name_taken", field: "name" });
  const user = await under.users.create({ ...alice, role: "administrator" });
  await under.users.change(user.id, { fullName: "Alice" }, user.revision);
  await assert.rejects(under.users.change(user.id, { fullName: "A." }, user.revision), {
    code: "precondition_failed",
    fault: { currentRevision: user.revision + 1 },
    message: /Changed: fullName/,
  });
  await under.users.delete(admin.id);
  assert.deepEqual(
    under.inventory.list("user").map((each) => each.name),
    ["alice"],
  );
});

test("a changed password ends the sessions; one's own needs the present one", async () => {
  await using under = await accessFixture();
  await under.users.createFirstAdministrator();
  const user = await under.users.create(alice);
  const { secret } = await under.users.login(alice, here);
  const principal = await under.access.authenticate(secret);
  const admin = under.inventory.require("user", "admin");
  const change = (userId: string, currentPassword?: string) =>
    under.users.changePassword(
      principal,
      userId,
      { newPassword: "new password", ...(currentPassword && { currentPassword }) },
      here,
    );
  await assert.rejects(change(admin.id), { code: "forbidden" });
  await assert.rejects(change(user.id, "wrong"), { code: "wrong_credentials" });
  await change(user.id, alice.password);
  await assert.rejects(under.access.authenticate(secret), { code: "unauthenticated" });
  await assert.rejects(under.users.login(alice, here), { code: "wrong_credentials" });
  await under.users.login({ name: "alice", password: "new password" }, here);
});

test("a login or change with the old password that is under way while it is changed gives nothing", async () => {
  await using under = await accessFixture();
  await under.users.createFirstAdministrator("admin password");
  const user = await under.users.create(alice);
  const login = { name: "admin", password: "admin password" };
  const admin = await under.access.authenticate((await under.users.login(login, here)).secret);
  const own = await under.access.authenticate((await under.users.login(alice, here)).secret);
  // One of the two places in which hashes are made is taken: those below come one after the other.
  const slow = `$argon2id$v=19$m=19456,t=60,p=1$${"A".repeat(22)}$${"A".repeat(43)}`;
  const busy = verifyPassword("x", slow);
  const changing = under.users.changePassword(admin, user.id, { newPassword: "given by admin" }, here);
  const outcomes = await Promise.allSettled([
    under.users.login(alice, here),
    under.users.changePassword(own, user.id, { currentPassword: alice.password, newPassword: "old hand's" }, here),
    changing,
    busy,
  ]);
  const [session, changed] = outcomes;
  assert.equal(outcomes[2].status, "fulfilled");
  if (session.status === "fulfilled") {
    await assert.rejects(under.access.authenticate(session.value.secret), { code: "unauthenticated" });
  }
  assert.equal(changed.status, "rejected");
  await under.users.login({ name: "alice", password: "given by admin" }, here);
});

test("what a clock that was ahead has noted of a session does not make it last longer", async () => {
  await using under = await accessFixture();
  await under.users.create(alice);
  const { secret } = await under.users.login(alice, here);
  const { secret: left } = await under.users.login(alice, here);
  const yearMs = 365 * 86_400_000;
  // Set right before anything was forgotten, or ended.
  under.time.aheadMs = sessionMs - 1000;
  for (const each of [secret, left]) await under.access.authenticate(each);
  under.time.aheadMs = sessionMs - 1000 - yearMs;
  await under.access.authenticate(secret);
  await under.credentials.prune();
  under.time.aheadMs += sessionMs - 1000;
  await under.access.authenticate(secret);
  await assert.doesNotReject(under.access.authenticate(left));
  under.time.aheadMs += sessionMs + 1;
  for (const each of [secret, left]) {
    await assert.rejects(under.access.authenticate(each), { code: "unauthenticated" });
  }
});

test("guessing is slowed down, where it happens, and not for ever", async () => {
  await using under = await accessFixture();
  await under.users.create(alice);
  const guess = (address: string) => under.users.login({ name: "alice", password: "wrong" }, address);
  for (let index = 0; index < 5; index++) await assert.rejects(guess(here), { code: "wrong_credentials" });
  await assert.rejects(guess(here), { code: "too_many_attempts", fault: { retryAfterSeconds: 1 } });
  await assert.rejects(under.users.login(alice, here), { code: "too_many_attempts" });
  await under.users.login(alice, "192.0.2.2");
  under.time.aheadMs += 1001;
  await assert.rejects(guess(here), { code: "wrong_credentials" });
  await assert.rejects(guess(here), { fault: { retryAfterSeconds: 2 } });
  under.time.aheadMs += 2001;
  await under.users.login(alice, here);
  await assert.rejects(guess(here), { code: "wrong_credentials" });
});

test("who has a whole IPv6 network is slowed down as one", async () => {
  await using under = await accessFixture();
  await under.users.create(alice);
  const guess = (index: number) => under.users.login({ name: "alice", password: "wrong" }, `2001:db8::${index}`);
  for (let index = 0; index < 5; index++) await assert.rejects(guess(index), { code: "wrong_credentials" });
  await assert.rejects(guess(6), { code: "too_many_attempts" });
  await under.users.login(alice, "2001:db8:0:1::1");
});

test("guesses at the same time are not more than guesses one after another", async () => {
  await using under = await accessFixture();
  await under.users.create(alice);
  const guesses = Array.from({ length: 30 }, () => under.users.login({ name: "alice", password: "wrong" }, here));
  const codes = (await Promise.allSettled(guesses)).map((each) => each.status === "rejected" && each.reason.code);
  assert.equal(codes.filter((code) => code === "wrong_credentials").length, 5);
  assert.equal(codes.filter((code) => code === "too_many_attempts").length, 25);
});

test("one address that tries many users is slowed down for all of them, and others are not", async () => {
  await using under = await accessFixture();
  await under.users.create(alice);
  for (let index = 0; index < 20; index++) {
    const guess = under.users.login({ name: `user${index}`, password: "wrong" }, here);
    await assert.rejects(guess, { code: "wrong_credentials" });
  }
  await assert.rejects(under.users.login(alice, here), { code: "too_many_attempts" });
  await under.users.login(alice, "192.0.2.2");
});

test("guessers from everywhere lock nobody out where he is known, nor on the machine itself, nor for good", async () => {
  await using under = await accessFixture();
  await under.users.create(alice);
  await under.users.login(alice, here);
  const limit = new LoginLimit({ monotonicMs: () => performance.now() + under.time.aheadMs });
  limit.attempt("alice", here).succeeded();
  for (let index = 0; index < 50; index++) limit.attempt("alice", `198.51.100.${index}`);
  assert.throws(() => limit.attempt("alice", "203.0.113.9"), { code: "too_many_attempts" });
  limit.attempt("alice", here).succeeded();
  limit.attempt("alice", "127.0.0.1").succeeded();
  under.time.aheadMs += 60_001;
  limit.attempt("alice", "203.0.113.9").succeeded();
});

test("a user has so many streams at once, and a place again when one ends", async () => {
  await using under = await accessFixture();
  await under.users.create(alice);
  await under.users.create({ ...alice, name: "bob" });
  const principal = await under.access.authenticate((await under.users.login(alice, here)).secret);
  const bob = await under.access.authenticate((await under.users.login({ ...alice, name: "bob" }, here)).secret);
  const places = Array.from({ length: 64 }, () => under.access.openStream(principal));
  assert.throws(() => under.access.openStream(principal), { code: "too_many_attempts" });
  using _bobs = under.access.openStream(bob);
  for (let times = 0; times < 2; times++) places[0]?.[Symbol.dispose]();
  using _again = under.access.openStream(principal);
  assert.throws(() => under.access.openStream(principal), { code: "too_many_attempts" });
});
