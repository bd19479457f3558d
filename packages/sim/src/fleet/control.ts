// A running fleet is told what goes wrong: commands as lists of words, over a unix socket, one JSON line there and one
// back. Each answers with what is now so.
import { once } from "node:events";
import { chmodSync, rmSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { createInterface } from "node:readline";
import { readRule } from "#fault/rule.ts";
import type { Fleet } from "./fleet.ts";

interface Command {
  readonly words: string;
  readonly summary: string;
  run(fleet: Fleet, args: readonly string[]): string | Promise<string>;
}

/** Every command and what it does; also the command line's help. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  list: {
    words: "",
    summary: "hosts, what they run, and where they listen",
    run: (fleet) => fleet.hosts.map((each) => row(each)).join("\n"),
  },
  uris: {
    words: "",
    summary: "one line a host: its name, its URI for `inn host add`, and its cluster",
    run: (fleet) =>
      fleet.hosts
        .map(
          ({ name, uris, cluster }) =>
            `${name} ${uris.find((uri) => !uri.includes("+unix")) ?? uris[0] ?? ""} ${cluster}`,
        )
        .join("\n"),
  },
  "power-off": {
    words: "<host>",
    summary: "cut the power: guests are gone, nobody answers",
    run: (fleet, [pattern]) => {
      for (const each of fleet.matching(required(pattern, "host"))) fleet.powerOff(each);
      return `${pattern} is off`;
    },
  },
  "power-on": {
    words: "<host>",
    summary: "power again: pools and guests that start by themselves do",
    run: async (fleet, [pattern]) => {
      await Promise.all(fleet.matching(required(pattern, "host")).map((each) => fleet.powerOn(each)));
      return `${pattern} is on`;
    },
  },
  isolate: {
    words: "<host>",
    summary: "pull the network cable: guests run on, nobody hears of them (split brain)",
    run: (fleet, [pattern]) => {
      for (const each of fleet.matching(required(pattern, "host"))) fleet.isolate(each, true);
      return `${pattern} is cut off`;
    },
  },
  partition: {
    words: "<host> <host>",
    summary: "nothing passes between two hosts; the control plane reaches both",
    run: (fleet, [one, other]) => {
      for (const left of fleet.matching(required(one, "host")))
        for (const right of fleet.matching(required(other, "second host"))) fleet.wire.cut(left.name, right.name);
      return `nothing passes between ${one} and ${other}`;
    },
  },
  heal: {
    words: "<host>",
    summary: "put all cables of a host back",
    run: (fleet, [pattern]) => {
      for (const each of fleet.matching(required(pattern, "host"))) {
        fleet.isolate(each, false);
        fleet.wire.heal(each.name);
      }
      return `${pattern} is reachable`;
    },
  },
  clock: {
    words: "<host> <seconds>",
    summary: "set a host's clock ahead or (below 0) back, against the simulation's",
    run: (fleet, [pattern, seconds]) => {
      const offsetMs = Number(required(seconds, "number of seconds")) * 1000;
      if (!Number.isFinite(offsetMs)) throw new Error(`${seconds} is no number of seconds`);
      for (const { host } of fleet.matching(required(pattern, "host"))) host.clock.offsetMs = offsetMs;
      return `${pattern}'s clock is ${seconds} s off`;
    },
  },
  "disk-full": {
    words: "<host> [path]",
    summary: "no room is left where the path is (default: /var/lib/libvirt/images)",
    run: (fleet, [pattern, path]) => {
      const where = path ?? "/var/lib/libvirt/images";
      for (const { host } of fleet.matching(required(pattern, "host"))) host.files.fileSystemOf(where).fill(0);
      return `${where} of ${pattern} is full`;
    },
  },
  "disk-free": {
    words: "<host> [path]",
    summary: "room again",
    run: (fleet, [pattern, path]) => {
      const where = path ?? "/var/lib/libvirt/images";
      for (const { host } of fleet.matching(required(pattern, "host")))
        host.files.fileSystemOf(where).fill(Number.POSITIVE_INFINITY);
      return `${where} of ${pattern} has room`;
    },
  },
  fault: {
    words: "<rule as JSON>",
    summary: `add a rule: {"kind":"fail","host":"c1*","procedure":"domainCreate*","probability":0.1}`,
    run: (fleet, [json]) => {
      fleet.setFaults([...fleet.faults, readRule(JSON.parse(required(json, "rule")))]);
      return `${fleet.faults.length} rules`;
    },
  },
  "fault-clear": {
    words: "",
    summary: "take all rules back",
    run: (fleet) => {
      fleet.setFaults([]);
      return "no rule is left";
    },
  },
};

function row({ name, cluster, host, uris }: Fleet["hosts"][number]): string {
  const domains = [...host.domains.all];
  const running = domains.filter(({ isActive }) => isActive).length;
  const state = host.faults.isOff ? "off" : host.faults.isIsolated ? "cut off" : "on";
  return [name, cluster, state, `${running}/${domains.length} VMs run`, ...uris].join("  ");
}

function required(value: string | undefined, what: string): string {
  if (value === undefined || value === "") throw new Error(`a ${what} is missing`);
  return value;
}

interface Reply {
  readonly text?: string;
  readonly error?: string;
}

export async function serveControl(fleet: Fleet, path: string): Promise<AsyncDisposable> {
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    createInterface(socket).on("line", (line) => {
      void obey(fleet, line).then((reply) => socket.write(`${JSON.stringify(reply)}\n`));
    });
  });
  server.listen(path);
  await once(server, "listening");
  chmodSync(path, 0o600);
  return server;
}

async function obey(fleet: Fleet, line: string): Promise<Reply> {
  try {
    const words: unknown = JSON.parse(line);
    const [name = "", ...args] = Array.isArray(words) ? words.map(String) : [];
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined) throw new Error(`there is no command ${name}`);
    return { text: await command.run(fleet, args) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

/** Sends one command to a fleet that runs in another process. */
export async function tellFleet(path: string, words: readonly string[]): Promise<string> {
  const socket = createConnection(path);
  try {
    await once(socket, "connect");
    socket.write(`${JSON.stringify(words)}\n`);
    const [line] = (await once(createInterface(socket), "line")) as [string];
    const { text, error } = JSON.parse(line) as Reply;
    if (error !== undefined) throw new Error(error);
    return text ?? "";
  } finally {
    socket.destroy();
  }
}
