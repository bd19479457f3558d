/** `inn login`, `logout`, `whoami`: which server, and as whom. The session's token is kept in the configuration file, the password nowhere. */
import type { Command } from "commander";
import type { ResponseOf } from "@innkeeper/contract/endpoint/table.ts";
import { ApiClient } from "#client.ts";
import { CliError, usageError } from "#cli-error.ts";
import {
  changeConfig,
  chooseServer,
  defaultServerUrl,
  readConfig,
  type SavedServer,
  serverUrl,
  withoutServer,
  withServer,
} from "#config.ts";
import type { Invocation } from "#invocation.ts";
import { fileText } from "#option/file.ts";
import { given } from "#option/given.ts";
import { password } from "#option/secret.ts";
import { pairText } from "#output/table.ts";
import { ask } from "#terminal.ts";
import { addVerb, type Surroundings } from "#verb.ts";

export function addSession(root: Command, surroundings: Surroundings): void {
  addVerb(root, surroundings, {
    usage: "login [server]",
    summary: "Log in to a server and remember it.",
    operations: ["login"],
    options: (command) =>
      command
        .option("-u, --user <name>", "user name (default: it is asked for)")
        .option("--password-file <file>", "file with the password (default: INN_PASSWORD, or it is asked for)")
        .option("--as <name>", "remember the server under this name (default: its host name)")
        .option("--ca-file <file>", "PEM of the authority that signed the server's certificate"),
    details: `Servers are remembered by name; \`inn --server NAME …\` uses one, the last login is used without it.
INN_SERVER and INN_TOKEN do the same for scripts.`,
    examples: ["login https://inn.example.org --user admin", "login 127.0.0.1:7480 --user admin --as local"],
    run: async (invocation, named) => {
      const { name, saved, session } = await login(invocation, { named });
      const { secret: _secret, ...shown } = session;
      await invocation.show(
        shown,
        () => `logged in to ${saved.url} as ${session.user.name} (${session.user.role}), remembered as ${name}\n`,
      );
    },
  });
  addVerb(root, surroundings, {
    usage: "logout",
    summary: "End the session and forget the server.",
    operations: ["logout"],
    run: async (invocation) => await logout(invocation, invocation.server.name),
  });
  addVerb(root, surroundings, {
    usage: "whoami",
    summary: "Show who is logged in, and where.",
    operations: ["me"],
    run: async (invocation) => {
      const user = await invocation.api.call("me");
      await invocation.show(user, () =>
        pairText([
          ["user", user.fullName === "" ? user.name : `${user.name} (${user.fullName})`],
          ["role", user.role],
          ["server", invocation.api.connection.server.href],
        ]),
      );
    },
  });
}

export interface LoginWish {
  /** A saved server's name, or a URL. */
  readonly named?: string | undefined;
  /** Default: as the options say, or as they are typed. */
  readonly user?: string | undefined;
  readonly password?: string | undefined;
}

export interface LoggedIn {
  /** Under which it is remembered. */
  readonly name: string;
  readonly saved: SavedServer;
  readonly session: ResponseOf<"login">;
}

export async function login(invocation: Invocation, wish: LoginWish): Promise<LoggedIn> {
  const { options } = invocation;
  const { named } = wish;
  const config = readConfig(invocation.configFile);
  const server =
    named ?? options.text("server") ?? invocation.environment["INN_SERVER"] ?? config.current ?? defaultServerUrl;
  const before = config.servers[server];
  const url = serverUrl(before?.url ?? server);
  const caCertificate = (await fileText("--ca-file", options.text("caFile"))) ?? before?.caCertificate;
  const user = wish.user ?? options.text("user") ?? (await askUser(invocation, before?.user));
  const secret = wish.password ?? (await password(invocation, `Password of ${user} at ${url.host}: `));
  using api = new ApiClient({ server: url, token: undefined, caCertificate }, invocation.signal);
  const session = await api.call("login", { body: { name: user, password: secret } });
  const name = options.text("as") ?? (before === undefined ? url.host : server);
  const saved: SavedServer = {
    url: url.href.replace(/\/$/, ""),
    user: session.user.name,
    token: session.secret,
    expiresAt: session.expiresAt,
    ...given({ caCertificate }),
  };
  changeConfig(invocation.configFile, (current) => withServer(current, name, saved, true));
  return { name, saved, session };
}

async function askUser(invocation: Invocation, before: string | undefined): Promise<string> {
  if (!invocation.terminal.inputIsTerminal) {
    if (before !== undefined) return before;
    throw usageError("there is no terminal to ask for the user name", "Give it with --user.");
  }
  const hint = before === undefined ? "" : ` [${before}]`;
  const typed = (await ask(invocation.terminal, `User${hint}: `, invocation.signal)).trim();
  if (typed === "" && before === undefined) throw usageError("no user name was typed");
  return typed === "" ? (before ?? "") : typed;
}

/** `name`: of the saved server. */
export async function logout(invocation: Invocation, name: string | undefined): Promise<void> {
  if (name === undefined) throw usageError(`there is no saved login for ${invocation.server.connection.server.href}`);
  const { connection } = chooseServer(readConfig(invocation.configFile), name, invocation.environment);
  using api = new ApiClient(connection, invocation.signal);
  try {
    await api.call("logout");
  } catch (error) {
    // A session that has ended is what was wanted; a server that is gone is said, and forgotten all the same.
    if (!(error instanceof CliError)) throw error;
    if (error.detail.code !== "unauthenticated") invocation.remark(`the server was not told: ${error.message}\n`);
  }
  changeConfig(invocation.configFile, (config) => withoutServer(config, name));
  invocation.remark(`logged out of ${name}\n`);
}
