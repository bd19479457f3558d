/** Connect-VIServer and Disconnect-VIServer: login and logout. */
import { usageError } from "#cli-error.ts";
import { login, logout } from "#command/session.ts";
import { readConfig } from "#config.ts";
import { given } from "#option/given.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import type { ObjectKind } from "#powercli/object-writer.ts";

interface ServerObject {
  readonly Name: string;
  readonly Port: number;
  readonly User: string;
}

const serverKind: ObjectKind<ServerObject> = {
  columns: [
    { name: "Name", value: (server) => server.Name },
    { name: "Port", value: (server) => String(server.Port) },
    { name: "User", value: (server) => server.User },
  ],
};

const defaultPort = { "https:": 443, "http:": 80 } as const;

export const connectViServer: Cmdlet = {
  name: "Connect-VIServer",
  summary: "Log in to a server and remember it, as `inn login` does.",
  operations: ["login"],
  parameters: [
    { name: "Server", position: 0, help: "the server: its URL, its name, or the name that it was saved under" },
    { name: "User", aliases: ["Username"], help: "user name (default: it is asked for)" },
    {
      name: "Password",
      help: "better not: every user of this machine sees it (default: INN_PASSWORD, or it is asked for)",
    },
    { name: "Port", type: "integer", help: "the server's port" },
    { name: "Protocol", words: ["https", "http"], help: "how to reach it" },
    { name: "Force", type: "switch", help: "the same as without: a certificate that is not trusted stays so" },
  ],
  refused: {
    Credential: "give -User, and the password in INN_PASSWORD",
    Session: "give a token in INN_TOKEN",
    AllLinked: "there is one server",
    NotDefault: "name the server with -Server in each command",
    SaveCredentials: "the session is saved, the password never",
    Menu: "saved servers: see `inn login --help`",
  },
  examples: ["Connect-VIServer -Server inn.example.org -User admin"],
  run: async (run) => {
    const { bound, invocation } = run;
    const password = bound.text("Password");
    if (password !== undefined) {
      run.warn("every user of this machine could see the password in the list of processes: use INN_PASSWORD.");
    }
    const port = bound.number("Port");
    if (port !== undefined && (port < 1 || port > 65_535)) throw usageError(`-Port ${port} is no port`);
    const named = withPort(bound.text("Server"), bound.text("Protocol"), port);
    const { saved } = await login(invocation, { ...given({ named, user: bound.text("User"), password }) });
    const url = new URL(saved.url);
    const own = url.protocol === "http:" ? defaultPort["http:"] : defaultPort["https:"];
    run.write(serverKind, {
      Name: url.hostname,
      Port: url.port === "" ? own : Number(url.port),
      User: saved.user ?? "",
    });
  },
};

function withPort(
  server: string | undefined,
  protocol: string | undefined,
  port: number | undefined,
): string | undefined {
  if (server === undefined || (protocol === undefined && port === undefined)) return server;
  if (/^https?:\/\//.test(server)) {
    const url = new URL(server);
    if (port !== undefined) url.port = String(port);
    return url.href;
  }
  return `${protocol ?? "https"}://${server}${port === undefined ? "" : `:${port}`}`;
}

export const disconnectViServer: Cmdlet = {
  name: "Disconnect-VIServer",
  summary: "End the session and forget the server, as `inn logout` does.",
  operations: ["logout"],
  impact: "asks",
  parameters: [
    { name: "Server", position: 0, help: "which one (default: the current one); * is all that are saved" },
    { name: "Force", type: "switch", help: "the same as without" },
  ],
  examples: ["Disconnect-VIServer -Confirm:$false"],
  run: async (run) => {
    const { invocation, bound } = run;
    const servers =
      bound.text("Server") === "*" ? Object.keys(readConfig(invocation.configFile).servers) : [invocation.server.name];
    for (const name of servers) {
      await run.attempt(async () => {
        if (await run.agreed("Disconnect", name ?? invocation.server.connection.server.href)) {
          await logout(invocation, name);
        }
      });
    }
  },
};
