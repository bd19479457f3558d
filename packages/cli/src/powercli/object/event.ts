/** An event as PowerCLI shows it. Facts: Event of the vSphere Web Services API, EventCategory of PowerCLI. */
import type { Event } from "@innkeeper/contract/resource/event.ts";
import { localTime } from "#output/time.ts";
import type { ObjectKind } from "#powercli/object-writer.ts";

export const eventCategories = ["Info", "Warning", "Error"] as const;

interface EventObject {
  readonly Name: string;
  readonly Key: string;
  readonly CreatedTime: string;
  readonly UserName: string | null;
  readonly Category: (typeof eventCategories)[number];
  readonly FullFormattedMessage: string;
  readonly Entities: readonly { readonly Kind: string; readonly Id: string; readonly Name: string | null }[];
  readonly TaskId: string | null;
}

const categoryOf = { info: "Info", warning: "Warning", error: "Error" } as const;

export function eventObject(event: Event): EventObject {
  return {
    Name: event.type,
    Key: event.id,
    CreatedTime: event.time,
    UserName: event.user ?? null,
    Category: categoryOf[event.severity],
    FullFormattedMessage: event.message,
    Entities: event.resources.map(({ kind, id, name }) => ({ Kind: kind, Id: id, Name: name ?? null })),
    TaskId: event.taskId ?? null,
  };
}

export const eventKind: ObjectKind<EventObject> = {
  columns: [
    { name: "CreatedTime", value: (event) => localTime(Date.parse(event.CreatedTime)) },
    { name: "UserName", value: (event) => event.UserName ?? "" },
    { name: "Category", value: (event) => event.Category },
    { name: "FullFormattedMessage", value: (event) => event.FullFormattedMessage },
    { name: "Name", value: (event) => event.Name, extra: true },
  ],
};
