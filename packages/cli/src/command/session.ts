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
  unsavedTrust,
  withoutServer,
  withServer,
} from "#config.ts";
import { connectionError, HttpConnection } from "#http.ts";
import type { Invocation } from "#invocation.ts";
import { fileText } from "#option/file.ts";
import { given } from "#option/given.ts";
import { password } from "#option/secret.ts";
import { pairText } from "#output/table.ts";
import { ask } from "#terminal.ts";
import { normalFingerprint, presentedCertificate } from "#trust.ts";
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
        .option("--ca-file <file>", "PEM of the authority that signed the server's certificate, or of that certificate")
        .option("--fingerprint <sha256>", "trust the certificate with this fingerprint, which `inn up` prints"),
    details: `Servers are remembered by name; \`inn --server NAME …\` uses one, the last login is used without it.
INN_SERVER, INN_TOKEN and INN_CA_FILE do the same for scripts.
A certificate that no public authority signed is shown by its fingerprint and trusted if you say so; from then on another
one is refused. On the server's own machine root needs none of this.`,
    examples: ["login inn.example.org --user admin", "login 127.0.0.1:7480 --user admin --as local"],
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

interface LoginWish {
  /** A saved server's name, or a URL. */
  readonly named?: string | undefined;
  /** Default: as the options say, or as they are typed. */
  readonly user?: string | undefined;
  readonly password?: string | undefined;
}

interface LoggedIn {
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
  const caCertificate = await trustOf(invocation, url, before);
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

/** What to pin of this server's certificate; undefined: the public authorities are to be asked. */
async function trustOf(invocation: Invocation, url: URL, before: SavedServer | undefined): Promise<string | undefined> {
  const { options, environment, signal, terminal } = invocation;
  const fromFile = await fileText("--ca-file", options.text("caFile"));
  if (url.protocol !== "https:" || fromFile !== undefined) return fromFile;
  const wanted = options.text("fingerprint");
  if (wanted === undefined) {
    const known = before?.caCertificate ?? unsavedTrust(url, environment);
    if (known !== undefined || (await isPubliclyTrusted(url, signal))) return known;
  }
  const { pin, server } = await presentedCertificate(url, signal).catch((error: unknown) => {
    throw connectionError(url.origin, error);
  });
  if (wanted !== undefined) {
    const right = [pin, server].find((each) => each.fingerprint256 === normalFingerprint(wanted));
    if (right !== undefined) return right.toString();
    throw new CliError(
      `${url.origin} shows SHA-256 ${pin.fingerprint256}, not ${normalFingerprint(wanted)}. Nothing was sent`,
      {
        exitCode: 76, // EX_PROTOCOL, sysexits.h
      },
    );
  }
  const shown = `The certificate of ${url.host} is signed by no public authority. Its SHA-256 is\n  ${pin.fingerprint256}\n`;
  if (!terminal.inputIsTerminal) {
    throw usageError(`${shown}There is no terminal to ask whether it is right.`, "Give --fingerprint or --ca-file.");
  }
  invocation.remark(`${shown}Compare it with what \`inn up\` printed on the server.\n`);
  const answer = await ask(terminal, "Is it right? [y/N] ", signal);
  if (!/^y(es)?$/i.test(answer.trim())) throw usageError("The certificate was not trusted; nothing was sent.");
  return pin.toString();
}

async function isPubliclyTrusted(server: URL, signal: AbortSignal): Promise<boolean> {
  using http = new HttpConnection(server);
  try {
    const request = { method: "GET", url: new URL("/api/v1/health", server), headers: {}, signal, timeoutMs: 20_000 };
    (await http.send(request)).resume();
    return true;
  } catch (error) {
    if (error instanceof CliError && error.detail.exitCode === 76) return false; // EX_PROTOCOL: untrusted
    throw error;
  }
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
