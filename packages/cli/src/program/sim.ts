/** `inn sim …`: a simulated fleet of libvirt hosts in this process, and what goes wrong in one that runs. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import path from "node:path";
import { type Command, Option } from "commander";
import { COMMANDS, serveControl, tellFleet } from "@innkeeper/sim/fleet/control.ts";
import { byCounts, type FleetDeclaration, readDeclaration } from "@innkeeper/sim/fleet/declaration.ts";
import { Fleet, type TlsFiles } from "@innkeeper/sim/fleet/fleet.ts";
import { RealClock } from "@innkeeper/sim/host/clock.ts";
import { programCommand, runCommand } from "#program/command-line.ts";
import type { ProgramContext } from "#program-name.ts";

interface UpOptions {
  readonly cluster: string;
  readonly host: string;
  readonly vm: string;
  readonly seed: string;
  readonly storage: "shared" | "local";
  readonly file?: string;
  readonly folder: string;
  readonly address: string;
  readonly port?: string;
  readonly speed: string;
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
}

const tcpPort = 16_509; // libvirtd.conf tcp_port
const tlsPort = 16_514; // libvirtd.conf tls_port

export async function sim(argv: readonly string[], { signal }: ProgramContext): Promise<number> {
  const root = programCommand("inn sim", "Simulated libvirt hosts that virsh, virt-install and Innkeeper can talk to.");
  addUp(root, signal);
  for (const [name, { words, summary }] of Object.entries(COMMANDS)) {
    root
      .command(`${name} ${words === "" ? "" : "[words...]"}`.trim())
      .usage(words)
      .description(`${words === "" ? "" : `${words}: `}${summary}`)
      .addOption(folderOption())
      .action(async (...given: unknown[]) => {
        const args = Array.isArray(given[0]) ? given[0].map(String) : [];
        const { folder } = given.at(-2) as { folder: string };
        console.log(await tell(folder, [name, ...args]));
      });
  }
  if (argv.length === 0) root.outputHelp();
  return argv.length === 0 ? 64 : await runCommand(root, argv, signal);
}

function folderOption(): Option {
  const folder = path.join(tmpdir(), `innkeeper-sim-${userInfo().username}`);
  return new Option("--folder <path>", "where the fleet's sockets are").default(folder);
}

async function tell(folder: string, words: readonly string[]): Promise<string> {
  try {
    return await tellFleet(path.join(folder, "control.sock"), words);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && ["ENOENT", "ECONNREFUSED"].includes(String(error.code))))
      throw error;
    throw new Error(`no fleet runs with --folder ${folder}; start one with: inn sim up`, { cause: error });
  }
}

function addUp(root: Command, signal: AbortSignal): void {
  root
    .command("up")
    .description("Run a fleet in the foreground, until it is interrupted.")
    .option("--cluster <n>", "how many clusters", "1")
    .option("--host <n>", "hosts in each", "4")
    .option("--vm <n>", "VMs on each host", "10")
    .option("--file <json>", "a declaration in full, in place of the counts (docs/simulator.md)")
    .option("--seed <n>", "the same seed gives the same fleet", "1")
    .addOption(
      new Option("--storage <kind>", "where the VMs' disks are").choices(["shared", "local"]).default("shared"),
    )
    .option("--speed <factor>", "how fast time goes", "1")
    .option("--address <ip>", "address of the first host; each next one has the next", "127.64.0.1")
    .option("--port <n>", `port of all hosts (default: ${tcpPort}, with TLS ${tlsPort})`)
    .option("--tls-ca <file>", "listen with TLS, for clients with certificates of this authority")
    .option("--tls-cert <file>", "the hosts' certificate")
    .option("--tls-key <file>", "and its key")
    .addOption(folderOption())
    .action(async (options: UpOptions) => await up(options, signal));
}

async function up(options: UpOptions, signal: AbortSignal): Promise<void> {
  const tls = tlsFiles(options);
  const startMs = performance.now();
  using clock = new RealClock(positive("speed", options.speed));
  await using fleet = new Fleet(declarationOf(options), clock);
  await fleet.listenUnix(options.folder);
  const port = options.port === undefined ? (tls === undefined ? tcpPort : tlsPort) : positive("port", options.port);
  await fleet.listenTcp(options.address, port, tls);
  await using _control = await serveControl(fleet, path.join(options.folder, "control.sock"));
  const vmCount = fleet.hosts.reduce((sum, { host }) => sum + [...host.domains.all].length, 0);
  const [first] = fleet.hosts;
  const clusters = [...new Set(fleet.hosts.map(({ cluster }) => cluster))];
  const [socketUri = "", uri = ""] = first?.uris ?? [];
  console.log(`${fleet.hosts.length} hosts with ${vmCount} VMs, ready in ${Math.round(performance.now() - startMs)} ms

Look at one:       virsh -c '${socketUri}' list
Manage it:         inn host add ${uri} --name ${first?.name ?? ""}
Manage all:        for cluster in ${clusters.join(" ")}; do inn cluster create $cluster; done
                   inn sim uris | while read -r name uri cluster; do inn host add "$uri" --name "$name" --cluster "$cluster"; done
Break something:   inn sim power-off ${first?.name ?? ""}     (inn sim --help lists what else)
Sockets:           ${options.folder}
Ctrl-C ends it.`);
  if (!signal.aborted) await once(signal, "abort");
}

function declarationOf(options: UpOptions): FleetDeclaration {
  if (options.file !== undefined) return readDeclaration(options.file);
  return byCounts({
    clusters: Number(options.cluster),
    hosts: Number(options.host),
    vms: Number(options.vm),
    seed: Number(options.seed),
    storage: options.storage,
  });
}

function tlsFiles({ tlsCa, tlsCert, tlsKey }: UpOptions): TlsFiles | undefined {
  if (tlsCa === undefined && tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCa === undefined || tlsCert === undefined || tlsKey === undefined)
    throw new Error("--tls-ca, --tls-cert and --tls-key go together");
  return { ca: readFileSync(tlsCa), cert: readFileSync(tlsCert), key: readFileSync(tlsKey) };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name} must be a number above 0, not ${text}`);
  return value;
}
