/** `inn recover`: a sound state from a lost or damaged one. */
import { readFile } from "node:fs/promises";
import { Check } from "typebox/value";
import { HostAdd } from "@innkeeper/contract/resource/host.ts";
import { AppError } from "@innkeeper/server/core/app-error.ts";
import { pinoLogger } from "@innkeeper/server/core/pino-logger.ts";
import { silentLogger } from "@innkeeper/server/core/log.ts";
import { type RecoverReport, recoverState } from "@innkeeper/server/app/state/recover.ts";
import { countText } from "@innkeeper/server/app/state/state-count.ts";
import { given, anyGiven } from "#option/given.ts";
import { programCommand } from "#program/command-line.ts";
import { runOffline, stateOption, storeOption } from "#program/offline.ts";
import type { ProgramContext } from "#program-name.ts";
import { collect } from "#verb.ts";

export async function recover(argv: readonly string[], context: ProgramContext): Promise<number> {
  const command = programCommand("inn recover", "Rebuild a lost or damaged state.")
    .addOption(stateOption())
    .addOption(storeOption().hideHelp())
    .option("--host <uri>", "a host to read, as NAME=URI or URI; may be repeated", collect)
    .option("--hosts-file <file>", "JSON or YAML: a list of hosts as `POST /hosts` takes them")
    .option("--tls-ca <file>", "for all --host: PEM of the authority that signed the hosts' certificates")
    .option("--tls-cert <file>", "for all --host: PEM of the client certificate to show")
    .option("--tls-key <file>", "for all --host: PEM of its key")
    .option("--ssh-key <file>", "for all --host: private key for qemu+ssh")
    .option("--ssh-password-file <file>", "for all --host: password for qemu+ssh, on the first line")
    .option("--ssh-fingerprint <SHA256:…>", "for all --host: the host's key (default: as known_hosts says)")
    .option("--allow-plain-tcp", "libvirt over plain TCP, for laboratories")
    .option("--force", "also when nothing is wrong with the state")
    .option("--verbose", "log what is done")
    .addHelpText(
      "after",
      `
What can be read of the old store is kept: users, tokens, hosts with their keys, events, tasks. If not all can be, what
is missing comes from the newest daily backup. VMs, their ids, tags, notes and snapshot trees, pools, networks and
images come from the hosts themselves. The old state is moved aside into a folder old-… in the state folder.
Hosts that neither the old store nor a backup names are given with --host. See docs/backup-and-recovery.md.`,
    );
  return runOffline(command, argv, context, async (options) => {
    if (options["store"] !== undefined) throw inPostgres();
    const report = await recoverState({
      stateFolder: String(options["state"]),
      hosts: await hostsOf(options),
      force: options["force"] === true,
      allowPlainTcp: options["allowPlainTcp"] === true,
      log: options["verbose"] === true ? pinoLogger("info") : silentLogger,
      onProgress: (message) => process.stderr.write(`${message}\n`),
      signal: context.signal,
    });
    console.log(reportText(report));
  });
}

/** Pages of a damaged file are read here; a database that others keep is brought back by what they keep it with. */
function inPostgres(): AppError {
  return new AppError(
    "unsupported",
    "`inn recover` mends a store in the state folder, not one in PostgreSQL; nothing was changed.",
    {
      remedy:
        "Bring the database back from PostgreSQL's own backup (pg_restore, point-in-time recovery), or with `inn restore FILE --store URL`. With no backup at all: `inn recover --state NEW --host URI …`, then `inn store migrate --state NEW --to URL`.",
    },
  );
}

function reportText(report: RecoverReport): string {
  const { problem, sources, hosts, sharedPools, notes, keyIsNew, count, aside } = report;
  const lines = [
    `What was wrong: ${problem}`,
    `Recovered: ${countText(count)}`,
    `From: ${[...sources, ...(hosts.length === 0 ? [] : ["the hosts"])].join(", ") || "nothing"}`,
    ...hosts.map(({ name, uri, vms, fault }) =>
      fault === undefined ? `  ${name}  ${vms} VMs  ${uri}` : `  ${name}  not read: ${fault}  ${uri}`,
    ),
  ];
  if (sharedPools.length > 0) lines.push(`Shared pools, found and proved: ${sharedPools.join(", ")}`);
  lines.push(...notes.map((note) => `Note: ${note}`));
  const unread = hosts.filter(({ fault }) => fault !== undefined);
  if (unread.length > 0)
    lines.push("Hosts that were not read are kept if they were known; they are read when they connect.");
  if (keyIsNew && sources.length > 0) {
    lines.push(
      "The key file was lost: keys and passwords of hosts are lost with it. Give those of a host that is not read by removing and adding it.",
    );
  }
  if (hosts.length === 0) lines.push("No host is known: add them with `inn host add` once it runs, or say --host URI.");
  if (count.user === 0)
    lines.push("No users are left: the next `inn up` makes a first administrator and prints the password.");
  if (aside !== undefined) lines.push(`The old state is in ${aside}`);
  return [...lines, "Start it with `inn up`."].join("\n");
}

async function hostsOf(options: Readonly<Record<string, unknown>>): Promise<HostAdd[]> {
  const common = {
    ...given({
      tls: anyGiven({
        caCertificate: await text("--tls-ca", options["tlsCa"]),
        clientCertificate: await text("--tls-cert", options["tlsCert"]),
        clientKey: await text("--tls-key", options["tlsKey"]),
      }),
      ssh: anyGiven({
        privateKey: await text("--ssh-key", options["sshKey"]),
        password: (await text("--ssh-password-file", options["sshPasswordFile"]))?.replace(/\r?\n$/, ""),
        hostKeyFingerprint: typeof options["sshFingerprint"] === "string" ? options["sshFingerprint"] : undefined,
      }),
    }),
  };
  const named = Array.isArray(options["host"]) ? options["host"].map(String) : [];
  const listed = await listedHosts(options["hostsFile"]);
  return [...named.map((word) => checked({ ...nameAndUri(word), ...common }, "--host")), ...listed];
}

/** A URI may have an `=` in its query, a name has no `:`. */
function nameAndUri(word: string): { uri: string; name?: string } {
  const [, name, uri] = /^([^=:]+)=(.+)$/.exec(word) ?? [];
  return name === undefined || uri === undefined ? { uri: word } : { name, uri };
}

async function listedHosts(file: unknown): Promise<HostAdd[]> {
  const content = await text("--hosts-file", file);
  if (content === undefined) return [];
  const { parse } = await import("yaml"); // JSON is YAML 1.2
  const list: unknown = parse(content);
  if (!Array.isArray(list)) throw wrong("--hosts-file", "it holds no list");
  return list.map((each) => checked(each, "--hosts-file"));
}

function checked(host: unknown, option: string): HostAdd {
  if (Check(HostAdd, host)) return host;
  throw wrong(option, `${JSON.stringify((host as { uri?: unknown } | null)?.uri ?? host)} is no host to add`);
}

async function text(option: string, file: unknown): Promise<string | undefined> {
  if (typeof file !== "string") return undefined;
  return readFile(file, "utf8").catch((error: unknown) => {
    throw wrong(option, error instanceof Error ? error.message : String(error));
  });
}

function wrong(option: string, why: string): AppError {
  return new AppError("bad_request", `${option}: ${why}.`, { remedy: "See `inn recover --help`." });
}
