/** `inn lab …`: real libvirt hosts in namespaces of this machine, to try things on and to break. */
import { once } from "node:events";
import { type Command, Option } from "commander";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { LabHost } from "@innkeeper/lab/host.ts";
import { tableText } from "#output/table.ts";
import { programCommand, runCommand } from "#program/command-line.ts";
import type { ProgramContext } from "#program-name.ts";

const defaultName = "lab";

export async function lab(argv: readonly string[], { signal }: ProgramContext): Promise<number> {
  const root = programCommand("inn lab", "Real libvirt hosts on this machine, in namespaces. Needs root.");
  // `exec` hands everything after the host on to the program.
  root.enablePositionalOptions();
  addLife(root, signal);
  addExec(root);
  addFault(root, "crash", "Power cut: the host and its guests are gone at once.", (host) => host.crash(signal));
  addFault(root, "start", "Power a host on again; resolves when its libvirtd answers.", (host) => host.start(signal));
  addFault(root, "partition", "Pull a host's network cable.", (host) => host.partition(signal));
  addFault(root, "heal", "Put the cable back.", (host) => host.heal(signal));
  if (argv.length === 0) root.outputHelp();
  return argv.length === 0 ? 64 : await runCommand(root, argv, signal);
}

function nameOption(): Option {
  return new Option("-n, --name <lab>", "which lab").default(defaultName);
}

function addLife(root: Command, signal: AbortSignal): void {
  root
    .command("up")
    .description("Start a lab.")
    .option("--hosts <n>", "how many hosts", "2")
    .addOption(nameOption())
    .option("--kvm", "let the hosts use /dev/kvm; off, as many machines have one that runs no guest")
    .action(async (options: { hosts: string; name: string; kvm?: boolean }) => {
      const made = await Lab.up({
        name: options.name,
        hostCount: Number(options.hosts),
        kvm: options.kvm === true,
        signal,
        onProgress: (message) => console.error(message),
      });
      for (const host of made.hosts) console.log(`${host.name}  ${host.uri}`);
      const { ca, cert, key } = made.clientTls;
      console.log(`\nAdd a host to a control plane with:
  inn host add ${made.hosts[0]?.uri ?? ""} --tls-ca ${ca} --tls-cert ${cert} --tls-key ${key}
Shared folder of all hosts: ${made.sharedFolder}`);
    });
  root
    .command("down")
    .description("Remove a lab and everything on it.")
    .addOption(nameOption())
    .action(async ({ name }: { name: string }) => {
      if (await Lab.down(name)) console.log(`removed lab ${name}`);
      else console.log(`there is no lab ${name}`);
    });
  root
    .command("list")
    .description("List labs and their hosts.")
    .action(async () => {
      const rows: { lab: string; host: string; running: boolean; uri: string }[] = [];
      for (const name of await Lab.list()) {
        const found = await Lab.open(name).catch(() => undefined);
        if (found === undefined) rows.push({ lab: name, host: "(half-made: take it down)", running: false, uri: "" });
        for (const host of found?.hosts ?? []) {
          rows.push({ lab: name, host: host.name, running: await host.isRunning(), uri: host.uri });
        }
      }
      const text = tableText(rows, [
        { name: "lab", value: (row) => row.lab },
        { name: "host", value: (row) => row.host },
        { name: "running", value: (row) => (row.running ? "yes" : "no") },
        { name: "uri", value: (row) => row.uri },
      ]);
      process.stdout.write(rows.length === 0 ? "there is no lab\n" : text);
    });
}

function addExec(root: Command): void {
  root
    .command("exec <host> <command> [arguments...]")
    .description("Run a program on a host, with this terminal.")
    .addOption(nameOption())
    .passThroughOptions()
    .action(async (hostName: string, program: string, args: string[], { name }: { name: string }) => {
      const host = (await Lab.open(name)).host(hostName);
      // `exec h1 -- virsh list` is typed as often as without the dashes.
      const child = await host.spawn(program === "--" ? args : [program, ...args], "inherit");
      const [code] = (await once(child, "close")) as [number | null];
      process.exitCode = code ?? 1;
    });
}

function addFault(root: Command, verb: string, summary: string, act: (host: LabHost) => Promise<void>): void {
  root
    .command(`${verb} <host>`)
    .description(summary)
    .addOption(nameOption())
    .action(async (hostName: string, { name }: { name: string }) => {
      await act((await Lab.open(name)).host(hostName));
      console.log(`${hostName}: ${verb} done`);
    });
}
