/** `inn user …` and `inn user token …`: who may do what. */
import type { Command } from "commander";
import { type Role, role as roleTable } from "@innkeeper/contract/privilege.ts";
import type { Token, User, UserChange } from "@innkeeper/contract/resource/user.ts";
import { usageError, valueError } from "#cli-error.ts";
import { runList } from "#list.ts";
import { find } from "#lookup.ts";
import { given } from "#option/given.ts";
import { newPassword, password } from "#option/secret.ts";
import { age, ago } from "#output/time.ts";
import { type Column, pairText } from "#output/table.ts";
import { addNoun, addVerb, confirmOption, listOptions, type Surroundings } from "#verb.ts";

const columns: readonly Column<User>[] = [
  { name: "name", value: (user) => user.name },
  { name: "full-name", value: (user) => user.fullName },
  { name: "role", value: (user) => user.role },
  { name: "state", value: (user) => (user.disabled ? "disabled" : "enabled") },
  { name: "last-login", value: (user) => age(user.lastLoginAt), right: true },
  { name: "id", value: (user) => user.id, extra: true },
];

const tokenColumns: readonly Column<Token>[] = [
  { name: "id", value: (token) => token.id },
  { name: "name", value: (token) => token.name },
  { name: "age", value: (token) => age(token.createdAt), right: true },
  { name: "last-used", value: (token) => age(token.lastUsedAt), right: true },
  { name: "expires", value: (token) => token.expiresAt ?? "never" },
];

function userText(user: User): string {
  return pairText([
    ["name", user.name],
    ["id", user.id],
    ["full name", user.fullName],
    ["role", user.role],
    ["state", user.disabled ? "disabled: may not log in" : "enabled"],
    ["created", ago(user.createdAt)],
    ["last login", ago(user.lastLoginAt)],
  ]);
}

export function addUser(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "list",
    alias: "ls",
    summary: "List users.",
    operations: ["userList"],
    options: listOptions,
    run: async (invocation) => {
      const kinds = ["user"];
      await runList(invocation, { operation: "userList", kinds, columns, rows: (_api, items) => items, sort: "name" });
    },
  });
  addVerb(noun, surroundings, {
    usage: "show <user>",
    summary: "Show a user.",
    operations: ["userGet"],
    run: async (invocation, name) => {
      const { id } = await find(invocation.api, "user", name);
      const user = await invocation.api.call("userGet", { parameters: { userId: id } });
      await invocation.show(user, () => userText(user));
    },
  });
  addChanges(noun, surroundings);
  addPassword(noun, surroundings);
  addVerb(noun, surroundings, {
    usage: "delete <user>",
    alias: "rm",
    summary: "Delete a user with all sessions and tokens.",
    operations: ["userDelete"],
    options: confirmOption,
    run: async (invocation, name) => {
      const user = await find(invocation.api, "user", name);
      await invocation.confirm(`Delete user ${user.name} with all sessions and tokens?`);
      await invocation.api.call("userDelete", { parameters: { userId: user.id } });
      invocation.remark(`deleted user ${user.name}\n`);
    },
  });
  addTokens(addNoun(noun, "token", "Your own API tokens."), surroundings);
}

function roleOf(text: string | undefined): Role | undefined {
  if (text === undefined || Object.hasOwn(roleTable, text)) return text as Role | undefined;
  throw valueError("--role", `"${text}" is no role`, `There is ${Object.keys(roleTable).join(", ")}.`);
}

function addChanges(noun: Command, surroundings: Surroundings): void {
  const roleText = Object.keys(roleTable).join(", ");
  addVerb(noun, surroundings, {
    usage: "create <name>",
    summary: "Create a user.",
    operations: ["userCreate"],
    options: (command) =>
      command
        .requiredOption("--role <role>", roleText)
        .option("--full-name <name>")
        .option("--password-file <file>", "the first password (default: INN_PASSWORD, or it is asked for)"),
    examples: ["user create lin --role operator --full-name 林"],
    run: async (invocation, name) => {
      const { options, api } = invocation;
      const role = roleOf(options.text("role")) ?? "read-only";
      const secret = await newPassword(invocation);
      const body = { name, role, password: secret, ...given({ fullName: options.text("fullName") }) };
      const user = await api.call("userCreate", { body });
      await invocation.show(user, () => `created user ${user.name}\n`);
    },
  });
  addVerb(noun, surroundings, {
    usage: "set <user>",
    summary: "Change a user's role, full name, or whether the user may log in.",
    operations: ["userChange"],
    options: (command) =>
      command
        .option("--role <role>", roleText)
        .option("--full-name <name>")
        .option("--disable", "may not log in")
        .option("--enable", "may log in again"),
    run: async (invocation, name) => {
      const { options, api } = invocation;
      const found = await find(api, "user", name);
      if (options.flag("disable") === true && options.flag("enable") === true)
        throw usageError("--disable and --enable contradict each other");
      const disabled = options.flag("disable") ?? (options.flag("enable") === true ? false : undefined);
      const body: UserChange = given({
        role: roleOf(options.text("role")),
        fullName: options.text("fullName"),
        disabled,
      });
      if (Object.keys(body).length === 0) throw usageError("nothing to change", "See `inn user set --help`.");
      const user = await api.call("userChange", { parameters: { userId: found.id }, body });
      await invocation.show(user, () => `user ${user.name}: changed\n`);
    },
  });
}

function addPassword(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "password [user]",
    summary: "Change your own password, or as an administrator anyone's; ends that user's sessions.",
    operations: ["userPassword"],
    options: (command) =>
      command
        .option("--password-file <file>", "the new password (default: INN_PASSWORD, or it is asked for)")
        .option("--current-password-file <file>", "your own present password (default: it is asked for)"),
    run: async (invocation, name?: string) => {
      const { api } = invocation;
      const me = await api.call("me");
      const user = name === undefined ? me : await find(api, "user", name);
      const current =
        user.id === me.id ? await password(invocation, "Present password: ", "currentPasswordFile") : undefined;
      const body = { newPassword: await newPassword(invocation), ...given({ currentPassword: current }) };
      await api.call("userPassword", { parameters: { userId: user.id }, body });
      invocation.remark(`changed the password of ${user.name}\n`);
    },
  });
}

function addTokens(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "list",
    alias: "ls",
    summary: "List your own API tokens.",
    operations: ["tokenList"],
    options: listOptions,
    run: async (invocation) => {
      const kinds = ["token"];
      await runList(invocation, { operation: "tokenList", kinds, columns: tokenColumns, rows: (_api, items) => items });
    },
  });
  addVerb(noun, surroundings, {
    usage: "create <name>",
    summary: "Make an API token; its secret is printed this once.",
    operations: ["tokenCreate"],
    options: (command) => command.option("--days <n>", "how long it is good for (default: until it is deleted)"),
    examples: ["user token create ci --days 90", "INN_TOKEN=$(inn user token create ci) inn vm list"],
    run: async (invocation, name) => {
      const body = { name, ...given({ expiresInDays: invocation.options.integer("days") }) };
      const created = await invocation.api.call("tokenCreate", { body });
      await invocation.show(created, () => `${created.secret}\n`);
    },
  });
  addVerb(noun, surroundings, {
    usage: "delete <token>",
    alias: "rm",
    summary: "Revoke one of your own API tokens.",
    operations: ["tokenDelete"],
    run: async (invocation, name) => {
      const token = await find(invocation.api, "token", name);
      await invocation.api.call("tokenDelete", { parameters: { tokenId: token.id } });
      invocation.remark(`revoked token ${token.name}\n`);
    },
  });
}
