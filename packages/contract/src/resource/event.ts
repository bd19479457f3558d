/** Something that happened: on a host, to a VM, by a user. Events are kept in order and never changed. */
import { Type, type Static } from "typebox";
import { baseFields, Time } from "./base.ts";
import { ResourceRef } from "./task.ts";

export const eventSeverities = ["info", "warning", "error"] as const;
export type EventSeverity = (typeof eventSeverities)[number];

export const Event = Type.Object({
  ...baseFields("event"),
  time: Time,
  type: Type.String({ description: "e.g. vm.started, host.disconnected, user.logged-in" }),
  severity: Type.Unsafe<EventSeverity>({ type: "string", enum: eventSeverities }),
  message: Type.String(),
  resources: Type.Array(ResourceRef),
  user: Type.Optional(Type.String()),
  taskId: Type.Optional(Type.String()),
});
export type Event = Static<typeof Event>;
