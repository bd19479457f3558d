/**
 * Events of a host's guests as one stream. Invariant: when the first `next()` has been called all subscriptions are made,
 * and from then on no event is lost; when the connection is lost the stream throws, and its consumer reads anew.
 * Balloon events are left out: a guest with statistics sends them all the time.
 */
import {
  type DomainEvents,
  type EventOf,
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

const kinds = Object.keys(descriptions) as (keyof DomainEvents)[];
/** Most that wait until what came before was handed on. */
const queueLimit = 20_000;

export async function* guestEvents(context: GuestDriverContext, signal: AbortSignal): AsyncGenerator<GuestEvent> {
  try {
    const connection = await context.session.connection({ signal });
    // Drivers other than QEMU's lack some kinds; without the life cycle, the first, there is nothing to go by.
    await using events = connection.events.domains(kinds, { signal, queueLimit });
    await events.ready;
    for await (const { name, event } of events) {
      const { type, detail = "" } = (descriptions[name] as Describe<typeof name>)(event);
      yield { uuid: event.dom.uuid, name: event.dom.name, type, detail };
    }
  } catch (error) {
    if (signal.aborted) return;
    throw mapLibvirtError(error, { what: "watch the host's VMs", cancelledBy: signal });
  }
}
