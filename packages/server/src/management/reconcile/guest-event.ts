/** Guest events → event resources, by table. What is not in the table only causes the VM to be read anew. */
import { newId } from "@innkeeper/contract/id.ts";
import type { EventSeverity } from "@innkeeper/contract/resource/event.ts";
import type { ResourceRef } from "@innkeeper/contract/resource/task.ts";
import type { Draft } from "#store/port.ts";
import type { GuestEvent } from "#virtualization/port.ts";

interface Row {
  readonly severity: EventSeverity;
  /** After "VM web1 ". */
  readonly words: string;
}

const table: Readonly<Record<string, Row>> = {
  started: { severity: "info", words: "started" },
  stopped: { severity: "info", words: "stopped" },
  suspended: { severity: "info", words: "was suspended" },
  resumed: { severity: "info", words: "was resumed" },
  shutdown: { severity: "info", words: "shut down" },
  pmsuspended: { severity: "info", words: "went to sleep" },
  "pm-suspended": { severity: "info", words: "went to sleep" },
  crashed: { severity: "error", words: "crashed" },
  rebooted: { severity: "info", words: "rebooted" },
  reboot: { severity: "info", words: "rebooted" },
  watchdog: { severity: "warning", words: "was caught by its watchdog" },
  "io-error": { severity: "error", words: "has a disk error" },
  "memory-failure": { severity: "error", words: "hit a memory failure" },
  "agent-connected": { severity: "info", words: "has its guest agent connected" },
  "agent-disconnected": { severity: "info", words: "lost its guest agent" },
  "control-error": { severity: "error", words: "can't be controlled by libvirt any more" },
};

/** libvirt's reasons that make an end worth attention. */
const badReason = /crash|fail|error|panic/i;

/** Events after which a guest may have addresses that it had not before; else they are asked for now and then. */
const newAddress: ReadonlySet<string> = new Set([
  "started",
  "rebooted",
  "woken",
  "agent-connected",
  "agent-disconnected",
  "device-added",
  "device-removed",
]);

export function mayChangeAddresses({ type, detail }: GuestEvent): boolean {
  return newAddress.has(type) || (type === "resumed" && detail !== "unpaused");
}

export function guestEventResource(
  event: GuestEvent,
  at: string,
  subject: { readonly vm: ResourceRef; readonly host: ResourceRef },
): Draft<"event"> | undefined {
  const row = table[event.type];
  if (row === undefined) return undefined;
  const severity = row.severity === "info" && badReason.test(event.detail) ? "error" : row.severity;
  const detail = event.detail === "" ? "" : ` (${event.detail})`;
  return {
    id: newId("event"),
    time: at,
    type: `vm.${event.type}`,
    severity,
    message: `VM ${subject.vm.name ?? subject.vm.id} ${row.words}${detail} on host ${subject.host.name ?? subject.host.id}`,
    resources: [subject.vm, subject.host],
  };
}
