// QEMU's guest agent in a guest that has booted: whether it answers, and what (QEMU 7.2 qga/qapi-schema.json). libvirt's
// refusals: qemuDomainAgentAvailable in libvirt 9.0 src/qemu/qemu_domain.c, qemuAgentCheckError in qemu_agent.c.
import {
  VIR_ERR_AGENT_UNRESPONSIVE,
  VIR_ERR_ARGUMENT_UNSUPPORTED,
  VIR_ERR_INTERNAL_ERROR,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import type { HostContext } from "#host/context.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import type { Networks } from "#host/network/networks.ts";
import { hash } from "#host/random.ts";
import { cardsOf, fileSystemsOf, hostNameOf, SYSTEM } from "./guest-system.ts";

const AGENT_VERSION = "7.2.0";

export function agentError(code: number, detail: string): SimError {
  return new SimError(code, VIR_FROM_QEMU, detail);
}

export function requireAgent(domain: SimDomain): void {
  domain.requireActive();
  if (!domain.facts.hasAgent) throw agentError(VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured");
  if (!domain.isAgentConnected) throw agentError(VIR_ERR_AGENT_UNRESPONSIVE, "QEMU guest agent is not connected");
}

interface Command {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

interface Process {
  readonly exitcode: number;
  readonly output: string;
}

/** What of a guest's system changes by commands. */
interface GuestState {
  frozen: boolean;
  /** What its clock is ahead of the host's. */
  clockOffsetMs: number;
  lastPid: number;
  readonly processes: Map<number, Process>;
}

/** Who has an account in a guest. */
const USERS = ["root", "debian"];

type Shadow = ReadonlyMap<string, string>;

type Answer = (guest: GuestState, args: Command["args"], domain: SimDomain) => unknown;

export class Agents {
  readonly #context: HostContext;
  readonly #networks: Networks;
  readonly #guests = new WeakMap<SimDomain, { readonly id: number; readonly state: GuestState }>();
  /** What stands for each user in /etc/shadow: on the guest's disk, so it outlives the run. */
  readonly #shadows = new WeakMap<SimDomain, Map<string, string>>();
  readonly #answers: Readonly<Record<string, Answer>>;

  constructor(context: HostContext, networks: Networks) {
    this.#context = context;
    this.#networks = networks;
    this.#answers = this.#commands();
  }

  /** The agent's own answer, as JSON text (virDomainQemuAgentCommand). */
  command(domain: SimDomain, text: string): string {
    requireAgent(domain);
    const { name, args } = parseCommand(text);
    const answer = this.#answers[name];
    if (answer === undefined)
      throw agentError(
        VIR_ERR_INTERNAL_ERROR,
        `unable to execute QEMU agent command '${name}': The command has not been found`,
      );
    return JSON.stringify({ return: answer(this.#state(domain), args, domain) });
  }

  /** How many file systems were frozen. */
  freeze(domain: SimDomain): number {
    requireAgent(domain);
    const state = this.#state(domain);
    if (state.frozen) {
      const detail =
        "unable to execute QEMU agent command 'guest-fsfreeze-freeze': The command guest-fsfreeze-freeze has been disabled for this instance";
      throw agentError(VIR_ERR_INTERNAL_ERROR, detail);
    }
    state.frozen = true;
    return fileSystemsOf(domain, this.#context).length;
  }

  thaw(domain: SimDomain): number {
    requireAgent(domain);
    const state = this.#state(domain);
    const count = state.frozen ? fileSystemsOf(domain, this.#context).length : 0;
    state.frozen = false;
    return count;
  }

  /** The guest's own clock. */
  timeMs(domain: SimDomain): number {
    requireAgent(domain);
    return Math.floor(this.#context.clock.nowMs() + this.#state(domain).clockOffsetMs);
  }

  /** @param timeMs null: as its hardware clock says, which is the host's. */
  setTime(domain: SimDomain, timeMs: number | null): void {
    requireAgent(domain);
    this.#state(domain).clockOffsetMs = timeMs === null ? 0 : timeMs - this.#context.clock.nowMs();
  }

  /** @param isCrypted it is what is to stand in /etc/shadow. */
  setPassword(domain: SimDomain, user: string, password: string, isCrypted: boolean): void {
    requireAgent(domain);
    const shadow = this.#shadow(domain);
    if (!shadow.has(user)) {
      const detail =
        "unable to execute QEMU agent command 'guest-set-user-password': child process has failed to set user password";
      throw agentError(VIR_ERR_INTERNAL_ERROR, detail);
    }
    shadow.set(user, isCrypted ? password : `$sim$${hash(password)}`);
  }

  #shadow(domain: SimDomain): Map<string, string> {
    const known = this.#shadows.get(domain) ?? new Map(USERS.map((user) => [user, "*"]));
    this.#shadows.set(domain, known);
    return known;
  }

  /** Of this run of the guest. */
  #state(domain: SimDomain): GuestState {
    const known = this.#guests.get(domain);
    if (known?.id === domain.id) return known.state;
    const state: GuestState = { frozen: false, clockOffsetMs: 0, lastPid: 700, processes: new Map() };
    this.#guests.set(domain, { id: domain.id, state });
    return state;
  }

  #commands(): Readonly<Record<string, Answer>> {
    return {
      "guest-ping": nothing,
      "guest-sync": (_guest, { id }) => id,
      "guest-sync-delimited": (_guest, { id }) => id,
      "guest-info": () => ({
        version: AGENT_VERSION,
        supported_commands: Object.keys(this.#answers)
          .toSorted()
          .map((name) => ({ enabled: true, name, "success-response": name !== "guest-shutdown" })),
      }),
      "guest-get-host-name": (_guest, _args, domain) => ({ "host-name": hostNameOf(domain) }),
      "guest-get-osinfo": () => SYSTEM,
      "guest-get-timezone": () => ({ zone: "UTC", offset: 0 }),
      "guest-get-users": () => [],
      "guest-get-time": (_guest, _args, domain) => this.timeMs(domain) * 1_000_000,
      "guest-set-time": (_guest, { time }, domain) => {
        this.setTime(domain, time === undefined ? null : Number(time) / 1_000_000);
        return {};
      },
      "guest-set-user-password": (_guest, { username, password, crypted }, domain) => {
        const text = Buffer.from(String(password), "base64").toString();
        this.setPassword(domain, String(username), text, crypted === true);
        return {};
      },
      "guest-fstrim": () => ({ paths: [] }),
      "guest-get-vcpus": (_guest, _args, { facts }) =>
        Array.from({ length: facts.vcpus }, (_unused, index) => ({
          "logical-id": index,
          online: true,
          "can-offline": index > 0,
        })),
      "guest-network-get-interfaces": (_guest, _args, domain) => this.#interfaces(domain),
      "guest-get-fsinfo": (_guest, _args, domain) =>
        fileSystemsOf(domain, this.#context).map((each) => ({
          mountpoint: each.mountPoint,
          name: each.name,
          type: each.type,
          "total-bytes": each.totalBytes,
          "used-bytes": each.usedBytes,
          disk: [],
        })),
      "guest-fsfreeze-status": ({ frozen }) => (frozen ? "frozen" : "thawed"),
      "guest-fsfreeze-freeze": (_guest, _args, domain) => this.freeze(domain),
      "guest-fsfreeze-thaw": (_guest, _args, domain) => this.thaw(domain),
      "guest-exec": (guest, args, domain) => ({ pid: execute(guest, args, domain, this.#shadow(domain)) }),
      "guest-exec-status": ({ processes }, { pid }) => exitOf(processes, Number(pid)),
    };
  }

  #interfaces(domain: SimDomain): unknown {
    const loopback = {
      name: "lo",
      "hardware-address": "00:00:00:00:00:00",
      "ip-addresses": [{ "ip-address-type": "ipv4", "ip-address": "127.0.0.1", prefix: 8 }],
    };
    const cards = cardsOf(domain, this.#networks, this.#context.clock.nowMs());
    return [
      loopback,
      ...cards.map(({ name, mac, address, prefix }) => ({
        name,
        "hardware-address": mac,
        "ip-addresses": [{ "ip-address-type": "ipv4", "ip-address": address, prefix }],
      })),
    ];
  }
}

const nothing: Answer = () => ({});

function parseCommand(text: string): Command {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw agentError(VIR_ERR_INTERNAL_ERROR, `cannot parse json ${text}: lexical error: invalid char in json text.`);
  }
  const { execute: name, arguments: args } = (parsed ?? {}) as { execute?: unknown; arguments?: unknown };
  if (typeof name !== "string")
    throw agentError(VIR_ERR_INTERNAL_ERROR, "unable to execute QEMU agent command '<unknown>'");
  return { name, args: typeof args === "object" && args !== null ? (args as Command["args"]) : {} };
}

/** Programs that a simulated guest has; any other ends with 127, as a shell says that there is none. */
function execute(guest: GuestState, args: Command["args"], domain: SimDomain, shadow: Shadow): number {
  const path = String(args["path"] ?? "");
  const words = Array.isArray(args["arg"]) ? args["arg"].map(String) : [];
  guest.lastPid += 1;
  guest.processes.set(guest.lastPid, run(path.slice(path.lastIndexOf("/") + 1), words, domain, shadow));
  return guest.lastPid;
}

function run(program: string, words: readonly string[], domain: SimDomain, shadow: Shadow): Process {
  switch (program) {
    case "true":
    case "sync":
    case "systemctl":
      return { exitcode: 0, output: "" };
    case "false":
      return { exitcode: 1, output: "" };
    case "echo":
      return { exitcode: 0, output: `${words.join(" ")}\n` };
    case "hostname":
      return { exitcode: 0, output: `${hostNameOf(domain)}\n` };
    case "uname":
      return { exitcode: 0, output: words.includes("-r") ? `${SYSTEM["kernel-release"]}\n` : "Linux\n" };
    case "getent":
      return entry(words, shadow);
    default:
      return { exitcode: 127, output: "" };
  }
}

/** getent(1): "shadow" is the only database that changes here. */
function entry([database, user = ""]: readonly string[], shadow: Shadow): Process {
  const found = database === "shadow" ? shadow.get(user) : undefined;
  return found === undefined
    ? { exitcode: 2, output: "" }
    : { exitcode: 0, output: `${user}:${found}:20089:0:99999:7:::\n` };
}

function exitOf(processes: Map<number, Process>, pid: number): unknown {
  const process = processes.get(pid);
  if (process === undefined)
    throw agentError(
      VIR_ERR_INTERNAL_ERROR,
      "unable to execute QEMU agent command 'guest-exec-status': Invalid parameter 'pid'",
    );
  // The agent forgets a process once it has told how it ended.
  processes.delete(pid);
  const { exitcode, output } = process;
  return { exited: true, exitcode, ...(output === "" ? {} : { "out-data": Buffer.from(output).toString("base64") }) };
}
