/** `inn host …`: the physical servers. */
import type { Command } from "commander";
import type { Host, HostAdd, HostChange, HostReconnect } from "@innkeeper/contract/resource/host.ts";
import { addMetrics } from "#command/metrics.ts";
import { usageError } from "#cli-error.ts";
import type { Invocation, Options } from "#invocation.ts";
import { runList } from "#list.ts";
import { find } from "#lookup.ts";
import { fileSecret, fileText } from "#option/file.ts";
import { anyGiven, anyOf, given } from "#option/given.ts";
import { hostColumns, hostRows, hostText } from "#page/host.ts";
import { followTask } from "#task.ts";
import { addVerb, collect, confirmOption, listOptions, type Surroundings, taskOptions } from "#verb.ts";

export function addHost(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "list",
    alias: "ls",
    summary: "List hosts.",
    operations: ["hostList"],
    options: listOptions,
    examples: ["host list", "host list --filter cluster=production", "host list --watch"],
    run: async (invocation) => {
      const kinds = ["host", "cluster"];
      await runList(invocation, {
        operation: "hostList",
        kinds,
        columns: hostColumns,
        rows: hostRows,
        sort: "name",
      });
    },
  });
  addVerb(noun, surroundings, {
    usage: "show <host>",
    summary: "Show a host: hardware, NUMA, whether KVM really runs a guest, connection.",
    operations: ["hostGet"],
    examples: ["host show kvm1", "host show kvm1 -o json"],
    run: async (invocation, name) => {
      const { id } = await find(invocation.api, "host", name);
      const host = await invocation.api.call("hostGet", { parameters: { hostId: id } });
      await invocation.show(host, async () => (await hostRows(invocation.api, [host])).map(hostText).join("\n"));
    },
  });
  addMetrics(noun, surroundings, "host");
  addAdd(noun, surroundings);
  addSet(noun, surroundings);
  addReconnect(noun, surroundings);
  addVerb(noun, surroundings, {
    usage: "remove <host>",
    alias: "rm",
    summary: "Forget a host; its VMs run on as they are.",
    operations: ["hostRemove"],
    options: (command) => taskOptions(confirmOption(command)),
    run: async (invocation, name) => {
      const host = await find(invocation.api, "host", name);
      await invocation.confirm(`Forget host ${host.name}? Its VMs run on as they are.`);
      await followTask(invocation, await invocation.api.call("hostRemove", { parameters: { hostId: host.id } }));
    },
  });
  addVerb(noun, surroundings, {
    usage: "refresh <host>",
    summary: "Read hardware, pools, networks and VMs anew, and test whether KVM really runs a guest.",
    operations: ["hostRefresh"],
    options: taskOptions,
    run: async (invocation, name) => {
      const { id } = await find(invocation.api, "host", name);
      await followTask(invocation, await invocation.api.call("hostRefresh", { parameters: { hostId: id } }));
    },
  });
}

function addAdd(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "add <uri>",
    summary: "Add a host: connect, check, inventory, adopt its VMs untouched.",
    operations: ["hostAdd"],
    options: (command) =>
      credentialOptions(
        taskOptions(command)
          .option("--name <name>", "what to call it (default: its host name)")
          .option("--description <text>")
          .option("--tag <tag>", "may be repeated", collect)
          .option("--cluster <cluster>", "the cluster that it is in"),
      ),
    examples: [
      "host add qemu+ssh://root@kvm1.example.org/system --ssh-key ~/.ssh/id_ed25519",
      "host add qemu+tls://kvm2.example.org/system --tls-ca ca.pem --tls-cert cert.pem --tls-key key.pem",
      "host add qemu+tls://inn@kvm3.example.org/system --password-file kvm3.password",
      "host add qemu:///system --name local --cluster lab",
    ],
    run: async (invocation, uri) => {
      const task = await invocation.api.call("hostAdd", { body: await addRequest(invocation, uri) });
      await followTask(invocation, task, (ended) => `added host ${ended.target?.name ?? uri}`);
    },
    fieldOption: (field) => credentialOption[field] ?? (field === "uri" ? "<uri>" : `--${field}`),
  });
}

function addReconnect(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "reconnect <host>",
    summary: "Connect to a host anew, with other credentials or another URI if they are given.",
    operations: ["hostReconnect"],
    options: (command) =>
      credentialOptions(taskOptions(command).option("--uri <uri>", "another way to the same host"))
        .option("--own-tls", "back to Innkeeper's own authority and certificate")
        .option("--no-password", "the libvirtd no longer asks for name and password")
        .option("--no-ssh-credentials", "neither key nor password: the agent's, and known_hosts"),
    details: `The host is reached with them before they take the place of the stored ones; after a failure nothing has
changed. TLS, SASL and SSH are replaced each as a whole: give key and certificate, user and password again.`,
    examples: [
      "host reconnect kvm1",
      "host reconnect kvm1 --ssh-key ~/.ssh/new_key",
      "host reconnect kvm3 --user inn --password-file kvm3.password",
    ],
    run: async (invocation, name) => {
      const { api, options } = invocation;
      const host = await find(api, "host", name);
      const body: HostReconnect = {
        ...given({ uri: options.text("uri") }),
        ...(await credentialRequest(options)),
        ...(options.flag("ownTls") === true && { tls: null }),
        ...(options.flag("password") === false && { sasl: null }),
        ...(options.flag("sshCredentials") === false && { ssh: null }),
      };
      const task = await api.call("hostReconnect", { parameters: { hostId: host.id }, body });
      await followTask(invocation, task, () => `host ${host.name} is connected`);
    },
    fieldOption: (field) => credentialOption[field] ?? `--${field}`,
  });
}

function credentialOptions(command: Command): Command {
  return command
    .option("--tls-ca <file>", "PEM of the authority that signed the host's certificate (default: Innkeeper's own)")
    .option("--tls-cert <file>", "PEM of the client certificate to show")
    .option("--tls-key <file>", "PEM of its key")
    .option("--user <name>", "for a libvirtd that asks for name and password, SASL (default: the URI's)")
    .option("--password-file <file>", "its password, on the first line")
    .option("--ssh-key <file>", "private key for qemu+ssh")
    .option("--ssh-password-file <file>", "password for qemu+ssh, on the first line")
    .option("--ssh-fingerprint <SHA256:…>", "the host's key (default: as known_hosts says)");
}

const credentialOption: Readonly<Record<string, string>> = {
  "tls.caCertificate": "--tls-ca",
  "tls.clientCertificate": "--tls-cert",
  "tls.clientKey": "--tls-key",
  sasl: "<uri>",
  "sasl.userName": "--user",
  "sasl.password": "--password-file",
  "ssh.privateKey": "--ssh-key",
  "ssh.password": "--ssh-password-file",
  "ssh.hostKeyFingerprint": "--ssh-fingerprint",
};

async function addRequest({ options }: Invocation, uri: string): Promise<HostAdd> {
  return {
    uri,
    ...given({
      name: options.text("name"),
      description: options.text("description"),
      tags: anyOf(options.texts("tag")),
      cluster: options.text("cluster"),
    }),
    ...(await credentialRequest(options)),
  };
}

async function credentialRequest(options: Options): Promise<Pick<HostAdd, "tls" | "sasl" | "ssh">> {
  return given({
    tls: anyGiven({
      caCertificate: await fileText("--tls-ca", options.text("tlsCa")),
      clientCertificate: await fileText("--tls-cert", options.text("tlsCert")),
      clientKey: await fileText("--tls-key", options.text("tlsKey")),
    }),
    sasl: await saslRequest(options),
    ssh: anyGiven({
      privateKey: await fileText("--ssh-key", options.text("sshKey")),
      password: await fileSecret("--ssh-password-file", options.text("sshPasswordFile")),
      hostKeyFingerprint: options.text("sshFingerprint"),
    }),
  });
}

async function saslRequest(options: Options): Promise<HostAdd["sasl"]> {
  const password = await fileSecret("--password-file", options.text("passwordFile"));
  const userName = options.text("user");
  if (password !== undefined) return { password, ...given({ userName }) };
  if (userName !== undefined) throw usageError("--user needs --password-file", "See `inn host add --help`.");
  return undefined;
}

function addSet(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "set <host...>",
    summary: "Change name, description, tags, cluster or maintenance of hosts.",
    operations: ["hostChange"],
    options: (command) =>
      command
        .option("--name <name>")
        .option("--description <text>")
        .option("--tag <tag>", "the new tags, instead of all before; may be repeated", collect)
        .option("--cluster <cluster>", "the cluster that it is in from now on")
        .option("--no-cluster", "in none")
        .option("--maintenance", "no new guest is placed here")
        .option("--no-maintenance", "back to normal"),
    examples: [
      "host set kvm1 --maintenance",
      "host set kvm1 --name rack2-kvm1 --tag rack2",
      "host set kvm1 kvm2 --cluster lab",
    ],
    run: async (invocation, ...names) => {
      const { options, api } = invocation;
      const found = await Promise.all(names.map(async (name) => await find(api, "host", name)));
      const body: HostChange = given({
        name: options.text("name"),
        description: options.text("description"),
        tags: anyOf(options.texts("tag")),
        cluster: options.flag("cluster") === false ? null : options.text("cluster"),
        maintenance: options.flag("maintenance"),
      });
      if (Object.keys(body).length === 0) throw usageError("nothing to change", "See `inn host set --help`.");
      if (body.name !== undefined && found.length > 1) throw usageError("--name is for one host");
      const changed: Host[] = [];
      for (const { id } of found) changed.push(await api.call("hostChange", { parameters: { hostId: id }, body }));
      const told = (): string => changed.map(({ name }) => `host ${name}: changed\n`).join("");
      await invocation.show(changed.length === 1 ? changed[0] : changed, told);
    },
    fieldOption: (field) => `--${field}`,
  });
}
