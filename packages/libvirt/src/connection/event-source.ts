// The connection's events. A subscription is one callback at the server (…EventRegisterAny), told apart by its
// callbackID, which is unique within its class only. The server may send an event before its answer to the registration
// has arrived here: such events are kept until the callbackID is known.
import { decode } from "#codec/decode.ts";
import { XdrReader } from "#codec/xdr-reader.ts";
import { domainEvents, networkEvents, nodeDeviceEvents, secretEvents, storagePoolEvents } from "#generated/event.ts";
import { qemuProgram } from "#generated/qemu-procedure.ts";
import { remoteProgram } from "#generated/remote-procedure.ts";
import { LibvirtError } from "#rpc/error.ts";
import { typeOf } from "#rpc/protocol.ts";
import { EventSubscription } from "./event-subscription.ts";
import type { Program } from "#codec/program.ts";
import type {
  DomainEvents,
  NetworkEvents,
  NodeDeviceEvents,
  SecretEvents,
  StoragePoolEvents,
} from "#generated/event.ts";
import type { QemuDomainMonitorEventMsg } from "#generated/qemu-type.ts";
import type {
  NonnullDomain,
  NonnullNetwork,
  NonnullNodeDevice,
  NonnullSecret,
  NonnullStoragePool,
} from "#generated/remote-type.ts";
import type { Channel } from "#rpc/channel.ts";
import type { Message } from "#framing/message.ts";
import type { CallOptions } from "#rpc/pending-call.ts";
import type { Invoke } from "./call.ts";

/** What a subscriber gets: the message without its callbackID, an inner "msg" spread out. */
export type EventOf<Message> = Message extends { msg: infer Inner }
  ? Omit<Message, "callbackID" | "msg"> & Inner
  : Omit<Message, "callbackID">;

/** One of several kinds: which, and the event. */
export type NamedEvent<Name extends keyof DomainEvents> = {
  readonly [Kind in Name]: { readonly name: Kind; readonly event: EventOf<DomainEvents[Kind]> };
}[Name];

export interface EventOptions {
  /** Ends the loop. */
  readonly signal?: AbortSignal;
  /** Most events that wait for the consumer; default 10,000. */
  readonly queueLimit?: number;
}

interface EventClass {
  readonly program: Program;
  readonly register: string;
  readonly deregister: string;
}

const remoteClass = (register: string, deregister: string): EventClass => ({
  program: remoteProgram,
  register,
  deregister,
});
const DOMAIN = remoteClass("connectDomainEventCallbackRegisterAny", "connectDomainEventCallbackDeregisterAny");
const NETWORK = remoteClass("connectNetworkEventRegisterAny", "connectNetworkEventDeregisterAny");
const STORAGE_POOL = remoteClass("connectStoragePoolEventRegisterAny", "connectStoragePoolEventDeregisterAny");
const NODE_DEVICE = remoteClass("connectNodeDeviceEventRegisterAny", "connectNodeDeviceEventDeregisterAny");
const SECRET = remoteClass("connectSecretEventRegisterAny", "connectSecretEventDeregisterAny");
const QEMU: EventClass = {
  program: qemuProgram,
  register: "connectDomainMonitorEventRegister",
  deregister: "connectDomainMonitorEventDeregister",
};

const QUEUE_LIMIT = 10_000;
/** Bounds for events that arrive between the server's registration and its answer. */
const EARLY_LIMIT = 10_000;
const EARLY_BYTES_MAX = 16_777_216;
/** Deregistration is a courtesy: a server that does not answer must not hold up the leaving of a loop. */
const DEREGISTER_TIMEOUT_MS = 5_000;

type AnySubscription = EventSubscription<Record<string, unknown>>;

/** Where the events of one callback go. */
type Sink = Pick<AnySubscription, "push" | "overflow" | "finish">;

/** One callback of a subscription. */
interface Registration {
  readonly args: unknown;
  /** What the subscriber gets of its events. Default: as they are. */
  readonly wrap?: (event: Record<string, unknown>) => Record<string, unknown>;
  /** A server that lacks it does not end the subscription. */
  readonly isOptional?: boolean;
}

interface Registry {
  readonly active: Map<number, Sink>;
  /** Deregistrations under way. */
  readonly leaving: Set<Promise<unknown>>;
  early: { id: number; event: Record<string, unknown>; byteLength: number }[];
  earlyBytes: number;
  isEarlyFull: boolean;
  registering: number;
}

type EventTable = Readonly<Record<string, readonly [number, string]>>;
const CLASSES: readonly { readonly of: EventClass; readonly events: EventTable }[] = [
  { of: DOMAIN, events: domainEvents },
  { of: NETWORK, events: networkEvents },
  { of: STORAGE_POOL, events: storagePoolEvents },
  { of: NODE_DEVICE, events: nodeDeviceEvents },
  { of: SECRET, events: secretEvents },
  { of: QEMU, events: { event: [0, "domainMonitorEvent"] } },
];

/** A procedure of a program as one number. Procedures are numbered from 1, some hundreds of them. */
const messageKey = (program: number, procedure: number): number => program * 0x1_0000 + procedure;

/** Of every message that is an event: its class, and the struct that it holds. */
const MESSAGES: ReadonlyMap<number, { readonly of: EventClass; readonly struct: string }> = new Map(
  CLASSES.flatMap(({ of, events }) =>
    Object.values(events).flatMap(([, name]) => {
      const entry = of.program.messages[name];
      return entry === undefined ? [] : [[messageKey(of.program.number, entry[0]), { of, struct: entry[1] }] as const];
    }),
  ),
);

export class EventSource {
  readonly #invoke: Invoke;
  readonly #registries = new Map<EventClass, Registry>();
  #isClosing = false;

  constructor(channel: Channel, invoke: Invoke) {
    this.#invoke = invoke;
    channel.onMessage((message) => this.#receive(message));
    void channel.closed.then(({ error }) => this.#finish(error ?? null));
  }

  /**
   * The connection is about to be closed: every callback is taken back. libvirtd (9.0) can crash when it has to drop the
   * callbacks of a client itself while an event or a call is still being worked on.
   */
  async deregisterAll(): Promise<void> {
    this.#isClosing = true;
    const calls = [...this.#registries].flatMap(([of, { active }]) =>
      [...active.keys()].map((callbackID) => this.#deregister(of, callbackID)),
    );
    await Promise.all(calls);
  }

  /** @param options.domain only this domain's events. */
  domain<Name extends keyof DomainEvents>(
    name: Name,
    options: EventOptions & { readonly domain?: NonnullDomain } = {},
  ): EventSubscription<EventOf<DomainEvents[Name]>> {
    return this.#subscribe(
      DOMAIN,
      [{ args: { eventID: domainEvents[name][0], dom: options.domain ?? null } }],
      options,
    );
  }

  /**
   * Events of several kinds as one subscription, which costs less than one for each. The first kind must be there;
   * others that the host's driver lacks are left out.
   */
  domains<Name extends keyof DomainEvents>(
    names: readonly Name[],
    options: EventOptions = {},
  ): EventSubscription<NamedEvent<Name>> {
    const registrations = names.map((name, index) => ({
      args: { eventID: domainEvents[name][0], dom: null },
      wrap: (event: Record<string, unknown>) => ({ name, event }),
      isOptional: index > 0,
    }));
    return this.#subscribe(DOMAIN, registrations, options);
  }

  network<Name extends keyof NetworkEvents>(
    name: Name,
    options: EventOptions & { readonly network?: NonnullNetwork } = {},
  ): EventSubscription<EventOf<NetworkEvents[Name]>> {
    return this.#subscribe(
      NETWORK,
      [{ args: { eventID: networkEvents[name][0], net: options.network ?? null } }],
      options,
    );
  }

  storagePool<Name extends keyof StoragePoolEvents>(
    name: Name,
    options: EventOptions & { readonly pool?: NonnullStoragePool } = {},
  ): EventSubscription<EventOf<StoragePoolEvents[Name]>> {
    return this.#subscribe(
      STORAGE_POOL,
      [{ args: { eventID: storagePoolEvents[name][0], pool: options.pool ?? null } }],
      options,
    );
  }

  nodeDevice<Name extends keyof NodeDeviceEvents>(
    name: Name,
    options: EventOptions & { readonly device?: NonnullNodeDevice } = {},
  ): EventSubscription<EventOf<NodeDeviceEvents[Name]>> {
    return this.#subscribe(
      NODE_DEVICE,
      [{ args: { eventID: nodeDeviceEvents[name][0], dev: options.device ?? null } }],
      options,
    );
  }

  secret<Name extends keyof SecretEvents>(
    name: Name,
    options: EventOptions & { readonly secret?: NonnullSecret } = {},
  ): EventSubscription<EventOf<SecretEvents[Name]>> {
    return this.#subscribe(
      SECRET,
      [{ args: { eventID: secretEvents[name][0], secret: options.secret ?? null } }],
      options,
    );
  }

  /** QEMU's own monitor events (QMP), unsupported by libvirt's promise of stability. @param options.event one name, or with VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX in flags a pattern. */
  qemuMonitor(
    options: EventOptions & { readonly domain?: NonnullDomain; readonly event?: string; readonly flags?: number } = {},
  ): EventSubscription<EventOf<QemuDomainMonitorEventMsg>> {
    const args = { dom: options.domain ?? null, event: options.event ?? null, flags: options.flags ?? 0 };
    return this.#subscribe(QEMU, [{ args }], options);
  }

  /** Event is the type that the event table gives for what the registrations ask. */
  #subscribe<Event>(
    of: EventClass,
    registrations: readonly Registration[],
    options: EventOptions,
  ): EventSubscription<Event> {
    const registry = this.#registry(of);
    const ids: number[] = [];
    const leave = async (): Promise<void> => {
      for (const id of ids) registry.active.delete(id);
      if (this.#isClosing || ids.length === 0) return;
      const leaving = Promise.all(ids.map((id) => this.#deregister(of, id)));
      registry.leaving.add(leaving);
      await leaving;
      registry.leaving.delete(leaving);
    };
    const deregister = async (): Promise<void> => {
      await subscription.ready.catch(() => undefined);
      await leave();
    };
    const register = async (self: AnySubscription): Promise<void> => {
      registry.registering += 1;
      try {
        // The server works on calls side by side, and refuses a callback like one that is just being taken back.
        await Promise.all(registry.leaving);
        const ends = await Promise.allSettled(
          registrations.map(async (each) => ids.push(...(await this.#register(of, each, self)))),
        );
        const failed = ends.find((end) => end.status === "rejected");
        if (failed !== undefined) {
          await leave();
          throw failed.reason;
        }
        if (registry.isEarlyFull) self.overflow("too much came before the registration was answered");
      } finally {
        registry.registering -= 1;
        if (registry.registering === 0) Object.assign(registry, { early: [], earlyBytes: 0, isEarlyFull: false });
      }
    };
    const subscription: AnySubscription = new EventSubscription(
      register,
      deregister,
      options.queueLimit ?? QUEUE_LIMIT,
    );
    if (options.signal !== undefined) endOnAbort(subscription, options.signal);
    return subscription as unknown as EventSubscription<Event>;
  }

  /** The callback's id, or none. */
  async #register(
    of: EventClass,
    { args, wrap, isOptional = false }: Registration,
    subscription: AnySubscription,
  ): Promise<readonly number[]> {
    const registry = this.#registry(of);
    const answer = await this.#call(of, of.register, args, {}).catch((error: unknown) => {
      if (!isOptional || !(error instanceof LibvirtError)) throw error;
    });
    if (answer === undefined) return [];
    const id = callbackId(answer);
    const sink: Sink =
      wrap === undefined
        ? subscription
        : {
            push: (event, byteLength) => subscription.push(wrap(event), byteLength),
            overflow: (why) => subscription.overflow(why),
            finish: (error) => subscription.finish(error),
          };
    registry.active.set(id, sink);
    for (const early of registry.early) if (early.id === id) sink.push(early.event, early.byteLength);
    return [id];
  }

  /** Never rejects: a server that refuses has no such callback any more. */
  async #deregister(of: EventClass, callbackID: number): Promise<void> {
    await this.#call(of, of.deregister, { callbackID }, { timeoutMs: DEREGISTER_TIMEOUT_MS }).catch(() => undefined);
  }

  #call(of: EventClass, name: string, args: unknown, options: CallOptions): Promise<unknown> {
    const entry = of.program.procedures[name];
    if (entry === undefined) throw new TypeError(`no procedure ${name}`);
    return this.#invoke(of.program, name, entry, args, options);
  }

  #registry(of: EventClass): Registry {
    const known = this.#registries.get(of);
    if (known !== undefined) return known;
    const registry: Registry = {
      active: new Map(),
      leaving: new Set(),
      early: [],
      earlyBytes: 0,
      isEarlyFull: false,
      registering: 0,
    };
    this.#registries.set(of, registry);
    return registry;
  }

  #receive({ program, procedure, payload }: Message): void {
    const kind = MESSAGES.get(messageKey(program, procedure));
    if (kind !== undefined) dispatch(this.#registries.get(kind.of), kind.struct, payload);
  }

  #finish(error: Error | null): void {
    for (const { active } of this.#registries.values()) {
      for (const subscription of active.values()) subscription.finish(error);
      active.clear();
    }
  }
}

/** Read also if nobody asked for it: a server whose messages can't be read is not to be trusted with others. */
function dispatch(registry: Registry | undefined, struct: string, payload: Buffer): void {
  const type = typeOf(struct);
  const message = type === null ? undefined : decode(new XdrReader(payload), type);
  if (!isRecord(message) || registry === undefined) return;
  const { callbackID, msg, ...rest } = message;
  const event = isRecord(msg) ? { ...rest, ...msg } : rest;
  const id = Number(callbackID);
  const subscription = registry.active.get(id);
  const { byteLength } = payload;
  if (subscription !== undefined) return subscription.push(event, byteLength);
  if (registry.registering === 0) return;
  if (registry.early.length >= EARLY_LIMIT || registry.earlyBytes + byteLength > EARLY_BYTES_MAX) {
    registry.isEarlyFull = true;
    return;
  }
  registry.early.push({ id, event, byteLength });
  registry.earlyBytes += byteLength;
}

function endOnAbort(subscription: AnySubscription, signal: AbortSignal): void {
  const end = (): void => void subscription.return();
  if (signal.aborted) end();
  else {
    signal.addEventListener("abort", end, { once: true });
    void subscription.ended.then(() => signal.removeEventListener("abort", end));
  }
}

function callbackId(answer: unknown): number {
  if (isRecord(answer) && typeof answer["callbackID"] === "number") return answer["callbackID"];
  throw new TypeError("registration without a callbackID");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
