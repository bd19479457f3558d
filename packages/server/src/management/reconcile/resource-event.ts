/** Event resources that reconcilers write. */
import { newId } from "@innkeeper/contract/id.ts";
import type { EventSeverity } from "@innkeeper/contract/resource/event.ts";
import type { ResourceRef } from "@innkeeper/contract/resource/task.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { Draft } from "#store/port.ts";

/** About VMs (documents) and hosts (ids). */
export function newEvent(
  clock: Clock,
  type: string,
  severity: EventSeverity,
  message: string,
  subjects: readonly (string | { readonly id: string; readonly name: string })[],
): Draft<"event"> {
  return { id: newId("event"), time: timestamp(clock), type, severity, message, resources: subjects.map(reference) };
}

function reference(subject: string | { readonly id: string; readonly name: string }): ResourceRef {
  return typeof subject === "string"
    ? { kind: "host", id: subject }
    : { kind: subject.id.slice(0, subject.id.indexOf("-")), id: subject.id, name: subject.name };
}
