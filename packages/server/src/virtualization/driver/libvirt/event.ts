/**
 * Events of a host's guests as one stream. Invariant: when the first `next()` has been called all subscriptions are made,
 * and from then on no event is lost; when the connection is lost the stream throws, and its consumer reads anew.
 * Balloon events are left out: a guest with statistics sends them all the time.
 */
import {
  type Connection,
  type DomainEvents,
  type EventOf,
  type EventSubscription,
  type NonnullDomain,
  VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED,
} from "@innkeeper/libvirt";
import { mapLibvirtError } from "#libvirt/error.ts";
import type { GuestEvent } from "#virtualization/port.ts";
import type { GuestDriverContext } from "./driver-context.ts";

type Describe<Name extends keyof DomainEvents> = (event: EventOf<DomainEvents[Name]>) => {
  readonly type: string;
  readonly detail?: string;
};
type Descriptions = { readonly [Name in keyof DomainEvents]?: Describe<Name> };

/** Words of virDomainEventType and of its details, in the order of the numbers (libvirt 9.0 libvirt-domain.h). */
const lifecycle: readonly (readonly [string, readonly string[]])[] = [
  ["defined", ["added", "updated", "renamed", "from snapshot"]],
  ["undefined", ["removed", "renamed"]],
  ["started", ["booted", "migrated", "restored", "from snapshot", "wakeup"]],
  [
    "suspended",
    [
      "paused",
      "migrated",
      "I/O error",
      "watchdog",
      "restored",
      "from snapshot",
      "API error",
      "post-copy",
      "post-copy failed",
    ],
  ],
  ["resumed", ["unpaused", "migrated", "from snapshot", "post-copy", "post-copy failed"]],
  ["stopped", ["shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot"]],
  ["shutdown", ["finished", "by the guest", "by the host"]],
  ["pmsuspended", ["memory", "disk"]],
  ["crashed", ["panicked", "crash loaded"]],
];
const blockJobStatus: readonly string[] = ["completed", "failed", "cancelled", "ready"];

const descriptions: Descriptions = {
  lifecycle: ({ event, detail }) => {
    const [type, details] = lifecycle[event] ?? [`lifecycle-${event}`, []];
    return { type, detail: details[detail] ?? "" };
  },
  reboot: () => ({ type: "rebooted" }),
  watchdog: () => ({ type: "watchdog" }),
  ioErrorReason: ({ srcPath, devAlias, reason }) => ({
    type: "io-error",
    detail: [devAlias, srcPath, reason].filter((part) => part !== "").join(" "),
  }),
  blockJob2: ({ dst, status }) => ({
    type: "block-job",
    detail: `${dst} ${blockJobStatus[status] ?? status}`,
  }),
  diskChange: ({ devAlias }) => ({ type: "disk-changed", detail: devAlias }),
  trayChange: ({ devAlias, reason }) => ({
    type: "tray-changed",
    detail: `${devAlias} ${reason === 0 ? "open" : "closed"}`,
  }),
  pmwakeup: () => ({ type: "woken" }),
  deviceAdded: ({ devAlias }) => ({ type: "device-added", detail: devAlias }),
  deviceRemoved: ({ devAlias }) => ({ type: "device-removed", detail: devAlias }),
  deviceRemovalFailed: ({ devAlias }) => ({ type: "device-removal-failed", detail: devAlias }),
  tunable: () => ({ type: "tuned" }),
  agentLifecycle: ({ state }) => ({
    type: state === VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED ? "agent-connected" : "agent-disconnected",
  }),
  memoryFailure: () => ({ type: "memory-failure" }),
  controlError: () => ({ type: "control-error" }),
  metadataChange: ({ nsuri }) => ({ type: "metadata-changed", detail: nsuri ?? "" }),
};

export async function* guestEvents(context: GuestDriverContext, signal: AbortSignal): AsyncGenerator<GuestEvent> {
  const over = new AbortController();
  const ended = AbortSignal.any([signal, over.signal]);
  try {
    const connection = await context.session.connection({ signal });
    const merged = new Merge();
    const names = Object.keys(descriptions) as (keyof DomainEvents)[];
    const subscriptions = names.map((name) => subscribe(connection, name, merged, ended));
    // Drivers other than QEMU's lack some kinds; without the life cycle there is nothing to go by.
    const [first, ...others] = subscriptions;
    await first?.ready;
    await Promise.allSettled(others.map((other) => other.ready));
    yield* merged.events(ended);
  } catch (error) {
    if (signal.aborted) return;
    throw mapLibvirtError(error, { what: "watch the host's VMs", cancelledBy: signal });
  } finally {
    over.abort();
  }
}

function subscribe<Name extends keyof DomainEvents>(
  connection: Connection,
  name: Name,
  merged: Merge,
  signal: AbortSignal,
): EventSubscription<EventOf<DomainEvents[Name]>> {
  const subscription = connection.events.domain(name, { signal });
  void forward(subscription, descriptions[name] as Describe<Name>, merged, name === "lifecycle");
  return subscription;
}

/** The end of the life cycle's stream is the end of all: only then is the connection lost. */
async function forward<Event>(
  events: AsyncIterable<Event>,
  describe: (event: Event) => { readonly type: string; readonly detail?: string },
  merged: Merge,
  isLeading: boolean,
): Promise<void> {
  try {
    for await (const event of events) {
      const dom = (event as { readonly dom: NonnullDomain }).dom;
      const { type, detail = "" } = describe(event);
      merged.push({ uuid: dom.uuid, name: dom.name, type, detail });
    }
    if (isLeading) merged.end(undefined);
  } catch (error) {
    if (isLeading) merged.end(error);
  }
}

/** Many producers, one consumer. The queue is bounded by that of the subscriptions behind it. */
class Merge {
  #queue: GuestEvent[] = [];
  #waiter = Promise.withResolvers<void>();
  #end: { readonly error: unknown } | undefined;

  push(event: GuestEvent): void {
    this.#queue.push(event);
    this.#waiter.resolve();
  }

  end(error: unknown): void {
    this.#end = { error };
    this.#waiter.resolve();
  }

  async *events(signal: AbortSignal): AsyncGenerator<GuestEvent> {
    signal.addEventListener("abort", () => this.end(undefined), { once: true });
    for (;;) {
      const events = this.#queue;
      this.#queue = [];
      yield* events;
      if (this.#queue.length > 0) continue;
      if (this.#end?.error !== undefined) throw this.#end.error;
      if (this.#end !== undefined || signal.aborted) return;
      await this.#waiter.promise;
      this.#waiter = Promise.withResolvers<void>();
    }
  }
}
