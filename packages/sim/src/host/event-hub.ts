// Who wants to hear of what happens on a host, and telling them. Callback ids are the daemon's, unique within a class, as
// in libvirtd. An event is delivered at once: it stands on the wire before the answer of the call that caused it, if that
// call is still at work.
import {
  domainEvents,
  networkEvents,
  nodeDeviceEvents,
  secretEvents,
  storagePoolEvents,
} from "@innkeeper/libvirt/generated/event.ts";
import { qemuProgram } from "@innkeeper/libvirt/generated/qemu-procedure.ts";
import { remoteProgram } from "@innkeeper/libvirt/generated/remote-procedure.ts";
import { remoteSchema } from "@innkeeper/libvirt/generated/remote-schema.ts";
import type { Program } from "@innkeeper/libvirt/codec/program.ts";
import type { EventOf } from "@innkeeper/libvirt/connection/event-source.ts";
import type {
  DomainEvents,
  NetworkEvents,
  NodeDeviceEvents,
  SecretEvents,
  StoragePoolEvents,
} from "@innkeeper/libvirt/generated/event.ts";
import type { QemuDomainMonitorEventMsg } from "@innkeeper/libvirt/generated/qemu-type.ts";

export type EventClass = "domain" | "network" | "storagePool" | "nodeDevice" | "secret" | "qemuMonitor";

/** How an event leaves: a message of a program, its value made for a callback id. */
export type Deliver = (program: Program, message: string, value: unknown) => void;

export interface Subscriber {
  /** Number of the event within its class; for qemuMonitor ignored. */
  readonly eventId: number;
  /** Only events of the object with this UUID (a pool's, network's, domain's) or name (a node device's); null: all. */
  readonly object: string | null;
  readonly deliver: Deliver;
}

type Body = object;

export class EventHub {
  readonly #classes = new Map<EventClass, Map<number, Subscriber>>();
  readonly #nextId = new Map<EventClass, number>();

  /** Returns the callback id. */
  subscribe(of: EventClass, subscriber: Subscriber): number {
    const id = this.#nextId.get(of) ?? 0;
    this.#nextId.set(of, id + 1);
    const subscribers = this.#classes.get(of) ?? new Map<number, Subscriber>();
    subscribers.set(id, subscriber);
    this.#classes.set(of, subscribers);
    return id;
  }

  /** False when there is no such callback. */
  unsubscribe(of: EventClass, id: number): boolean {
    return this.#classes.get(of)?.delete(id) === true;
  }

  domain<Name extends keyof DomainEvents>(name: Name, event: EventOf<DomainEvents[Name]> & Subject): void {
    this.#emit("domain", domainEvents[name], subjectOf(event), event);
  }

  network<Name extends keyof NetworkEvents>(name: Name, event: EventOf<NetworkEvents[Name]>): void {
    this.#emit("network", networkEvents[name], event.net.uuid, event);
  }

  storagePool<Name extends keyof StoragePoolEvents>(name: Name, event: EventOf<StoragePoolEvents[Name]>): void {
    this.#emit("storagePool", storagePoolEvents[name], event.pool.uuid, event);
  }

  nodeDevice<Name extends keyof NodeDeviceEvents>(name: Name, event: EventOf<NodeDeviceEvents[Name]>): void {
    this.#emit("nodeDevice", nodeDeviceEvents[name], event.dev.name, event);
  }

  secret<Name extends keyof SecretEvents>(name: Name, event: EventOf<SecretEvents[Name]>): void {
    this.#emit("secret", secretEvents[name], event.secret.uuid, event);
  }

  qemuMonitor(event: EventOf<QemuDomainMonitorEventMsg>): void {
    for (const [callbackID, { object, deliver }] of this.#classes.get("qemuMonitor") ?? [])
      if (object === null || object === event.dom.uuid)
        deliver(qemuProgram, "domainMonitorEvent", { callbackID, ...event });
  }

  #emit(of: EventClass, [eventId, message]: readonly [number, string], object: string, event: Body): void {
    const subscribers = this.#classes.get(of);
    if (subscribers === undefined) return;
    const isNested = isNestedMessage(message);
    for (const [callbackID, subscriber] of subscribers) {
      if (subscriber.eventId !== eventId || (subscriber.object !== null && subscriber.object !== object)) continue;
      subscriber.deliver(remoteProgram, message, isNested ? { callbackID, msg: event } : { callbackID, ...event });
    }
  }
}

/** Every domain event names its domain. */
interface Subject {
  readonly dom: { readonly uuid: string };
}

function subjectOf({ dom }: Subject): string {
  return dom.uuid;
}

/** Older messages have what happened in a struct of its own, beside the callback id (remote_protocol.x). */
function isNestedMessage(message: string): boolean {
  const struct = remoteProgram.messages[message]?.[1] ?? "";
  return / msg:/u.test(` ${remoteSchema[struct] ?? ""}`);
}
