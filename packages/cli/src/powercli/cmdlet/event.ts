/** Get-VIEvent. */
import { valueError } from "#cli-error.ts";
import { listAll } from "#list.ts";
import { filterOf, filterValue } from "#lookup.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import { eventCategories, eventKind, eventObject } from "#powercli/object/event.ts";

/** PowerCLI's default of -MaxSamples. */
const defaultSamples = 100;

export const getViEvent: Cmdlet = {
  name: "Get-VIEvent",
  summary: "List events, newest first.",
  operations: ["eventList"],
  parameters: [
    { name: "Entity", list: true, position: 0, noun: "vm", help: "only those of these VMs, hosts …, by name or id" },
    { name: "Start", type: "time", help: "from this time on: 2026-01-31, 2026-01-31T12:00:00Z" },
    { name: "Finish", type: "time", help: "up to this time" },
    { name: "Types", list: true, words: eventCategories, help: "only these" },
    { name: "Username", help: "only what this user did" },
    { name: "MaxSamples", type: "integer", help: `at most so many (default: ${defaultSamples})` },
  ],
  examples: ["Get-VIEvent -MaxSamples 20", "Get-VIEvent web -Start 2026-01-31", "Get-VIEvent -Types Error"],
  run: async (run) => {
    const { api, bound } = run;
    const samples = bound.number("MaxSamples") ?? defaultSamples;
    if (samples < 1) throw valueError("-MaxSamples", "it is at least 1");
    const entities = bound.texts("Entity").map((text) => text.toLowerCase());
    const types = bound.texts("Types");
    const user = bound.text("Username");
    const conditions = [
      ...timeCondition("time>=", bound.text("Start"), "-Start"),
      ...timeCondition("time<=", bound.text("Finish"), "-Finish"),
      ...(user === undefined ? [] : [`user=${filterValue(user)}`]),
    ];
    const { items } = await listAll(api, "eventList", {
      sort: "-time",
      ...filterOf(conditions),
      ...(entities.length === 0 && types.length === 0 ? { limit: samples } : {}),
    });
    const objects = items
      .map(eventObject)
      .filter(
        ({ Category, Entities }) =>
          (types.length === 0 || types.includes(Category)) &&
          (entities.length === 0 ||
            Entities.some(({ Id, Name }) => entities.includes(Id) || entities.includes((Name ?? "").toLowerCase()))),
      );
    for (const object of objects.slice(0, samples)) run.write(eventKind, object);
  },
};

/** Times without a zone are this machine's, as people mean them. */
function timeCondition(condition: string, text: string | undefined, parameter: string): string[] {
  if (text === undefined) return [];
  const atMs = Date.parse(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00` : text);
  if (Number.isNaN(atMs)) throw valueError(parameter, `"${text}" is no time`, "Write it like 2026-01-31T12:00:00Z.");
  return [`${condition}${filterValue(new Date(atMs).toISOString())}`];
}
