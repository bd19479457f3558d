// Registering for events of every class, and taking that back. A callback ends with its connection.
import { domainEvents } from "@innkeeper/libvirt/generated/event.ts";
import { VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import type { EventClass } from "#host/event-hub.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";
import type { Session } from "#rpc/session.ts";

/** Callbacks of a session, by class and id, each with what forgets it when it is deregistered. */
const callbacks = new WeakMap<Session, Map<string, () => void>>();

function register(
  host: SimHost,
  session: Session,
  of: EventClass,
  eventId: number,
  object: string | null,
): { callbackID: number } {
  const callbackID = host.events.subscribe(of, {
    eventId,
    object,
    deliver: (program, message, value) => session.sendMessage(program, message, value),
  });
  const forget = session.onClose(() => host.events.unsubscribe(of, callbackID));
  const own = callbacks.get(session) ?? new Map<string, () => void>();
  own.set(`${of}:${callbackID}`, forget);
  callbacks.set(session, own);
  return { callbackID };
}

function deregister(host: SimHost, session: Session, of: EventClass, callbackID: number): void {
  const key = `${of}:${callbackID}`;
  const forget = callbacks.get(session)?.get(key);
  if (forget === undefined)
    throw new SimError(
      VIR_ERR_INTERNAL_ERROR,
      VIR_FROM_RPC,
      `${LABEL[of]} event callback ${callbackID} not registered`,
    );
  callbacks.get(session)?.delete(key);
  forget();
  host.events.unsubscribe(of, callbackID);
}

/** How the daemon names the class when it refuses (remoteDispatchConnect…EventDeregisterAny). */
const LABEL: Readonly<Record<EventClass, string>> = {
  domain: "domain",
  network: "network",
  storagePool: "storage pool",
  nodeDevice: "node device",
  secret: "secret",
  qemuMonitor: "qemu monitor",
};

const DOMAIN_EVENT_LAST = Math.max(...Object.values(domainEvents).map(([id]) => id));

export const eventProcedures: Procedures = {
  remote: {
    connectDomainEventCallbackRegisterAny: (host, { eventID, dom }, session) => {
      if (eventID < 0 || eventID > DOMAIN_EVENT_LAST)
        throw new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC, `unsupported event ID ${eventID}`);
      return register(host, session, "domain", eventID, dom?.uuid ?? null);
    },
    connectDomainEventCallbackDeregisterAny: (host, { callbackID }, session) =>
      deregister(host, session, "domain", callbackID),
    connectNetworkEventRegisterAny: (host, { eventID, net }, session) =>
      register(host, session, "network", eventID, net?.uuid ?? null),
    connectNetworkEventDeregisterAny: (host, { callbackID }, session) =>
      deregister(host, session, "network", callbackID),
    connectStoragePoolEventRegisterAny: (host, { eventID, pool }, session) =>
      register(host, session, "storagePool", eventID, pool?.uuid ?? null),
    connectStoragePoolEventDeregisterAny: (host, { callbackID }, session) =>
      deregister(host, session, "storagePool", callbackID),
    connectNodeDeviceEventRegisterAny: (host, { eventID, dev }, session) =>
      register(host, session, "nodeDevice", eventID, dev?.name ?? null),
    connectNodeDeviceEventDeregisterAny: (host, { callbackID }, session) =>
      deregister(host, session, "nodeDevice", callbackID),
    connectSecretEventRegisterAny: (host, { eventID, secret }, session) =>
      register(host, session, "secret", eventID, secret?.uuid ?? null),
    connectSecretEventDeregisterAny: (host, { callbackID }, session) => deregister(host, session, "secret", callbackID),
  },
  qemu: {
    connectDomainMonitorEventRegister: (host, { dom }, session) =>
      register(host, session, "qemuMonitor", 0, dom?.uuid ?? null),
    connectDomainMonitorEventDeregister: (host, { callbackID }, session) =>
      deregister(host, session, "qemuMonitor", callbackID),
  },
};
