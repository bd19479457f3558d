// What a daemon answered to a script of calls, in a form that two daemons can be compared by: results, error codes and
// texts, and events in their order. What each daemon chooses by itself (UUIDs, MAC addresses, folders) is numbered in the
// order of its first appearance.
import { LibvirtError } from "@innkeeper/libvirt";
import { domainEvents } from "@innkeeper/libvirt/generated/event.ts";
import type { Connection } from "@innkeeper/libvirt";

const EVENT_MS = 5_000;
const CHOSEN =
  /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|52:54:00(?::[0-9a-f]{2}){3}|\/dev\/pts\/\d+|\+?(?:0|64055):\+?(?:0|64055)(?=<)/gu;

type Watched = "lifecycle" | "reboot" | "deviceAdded" | "deviceRemoved" | "balloonChange" | "metadataChange";
const WATCHED: readonly Watched[] = [
  "lifecycle",
  "reboot",
  "deviceAdded",
  "deviceRemoved",
  "balloonChange",
  "metadataChange",
];

export class Transcript {
  readonly lines: string[] = [];
  readonly connection: Connection;
  /** Where the script's files are on this daemon's host. */
  readonly folder: string;
  readonly #names = new Map<string, string>();
  readonly #events: string[] = [];
  #heard = Promise.withResolvers<void>();

  constructor(connection: Connection, folder: string) {
    this.connection = connection;
    this.folder = folder;
  }

  /** Writes down what a call came to; hands its result on, undefined when it failed. @param pick what of it is compared. */
  async call<T>(
    label: string,
    call: Promise<T>,
    pick: (result: T) => unknown = (result) => result,
  ): Promise<T | undefined> {
    try {
      const result = await call;
      this.lines.push(`${label}: ${this.#plain(pick(result))}`);
      return result;
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      const { codeName, domainName, message } = error;
      this.lines.push(`${label}: ${codeName} ${domainName} ${this.#plain(message)}`);
      return undefined;
    }
  }

  /** From now on, what happens to domains is heard. */
  async watch(): Promise<void> {
    for (const name of WATCHED)
      await this.listen(this.connection.events.domain(name), (event) => describe(name, event));
  }

  /** From now on these events are heard, as they are described. */
  async listen<Event>(
    events: AsyncIterable<Event> & { readonly ready: Promise<void> },
    tell: (event: Event) => string,
  ): Promise<void> {
    await events.ready;
    void this.#collect(events, tell);
  }

  /** Waits for so many events and writes them down. Too few show as what they are. */
  async events(label: string, count: number): Promise<void> {
    const timer = setTimeout(() => this.#heard.reject(new Error("no event")), EVENT_MS);
    try {
      while (this.#events.length < count) {
        await this.#heard.promise;
        this.#heard = Promise.withResolvers();
      }
    } catch {
      this.#heard = Promise.withResolvers();
    } finally {
      clearTimeout(timer);
    }
    this.lines.push(`${label}: ${this.#events.splice(0).join(", ")}`);
  }

  async #collect<Event>(events: AsyncIterable<Event>, tell: (event: Event) => string): Promise<void> {
    try {
      for await (const event of events) {
        this.#events.push(tell(event));
        this.#heard.resolve();
      }
    } catch {
      // The connection is closed at the end of the script.
    }
  }

  #plain(value: unknown): string {
    const text = typeof value === "string" ? value : JSON.stringify(value, writable);
    return (text ?? "").replaceAll(this.folder, "<folder>").replace(CHOSEN, (chosen) => this.#nameOf(chosen));
  }

  #nameOf(chosen: string): string {
    const known = this.#names.get(chosen) ?? `<${this.#names.size + 1}>`;
    this.#names.set(chosen, known);
    return known;
  }
}

function writable(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  return value instanceof Uint8Array ? [...value] : value;
}

function describe(name: Watched, event: object): string {
  const { event: number, detail, devAlias, actual, type, nsuri } = { ...event } as Record<string, unknown>;
  const parts = [number, detail, devAlias, actual, type, nsuri].filter((part) => part !== undefined && part !== null);
  return [`${name}(${domainEvents[name][0]})`, ...parts.map(String)].join(" ");
}

/** One part of the suite: a script that both daemons run. */
export interface ConformancePart {
  readonly name: string;
  /** @param there of another host of the same kind. */
  run(transcript: Transcript, there: Transcript): Promise<void>;
}

/** What the two hosts of one kind said to a part's script, one after the other. */
export async function transcribed(
  part: ConformancePart,
  [openHere, openThere]: readonly [() => Promise<Connection>, () => Promise<Connection>],
  folder: string,
): Promise<string[]> {
  await using here = await openHere();
  await using there = await openThere();
  const transcripts = [new Transcript(here, folder), new Transcript(there, folder)] as const;
  await part.run(...transcripts);
  return transcripts.flatMap(({ lines }) => lines);
}

/** Lines in which two transcripts differ, each from where they begin to. */
export function differences(real: readonly string[], simulated: readonly string[]): string[] {
  const count = Math.max(real.length, simulated.length);
  return Array.from({ length: count }, (_each, index) => index).flatMap((index) => {
    const expected = real[index] ?? "";
    const actual = simulated[index] ?? "";
    if (expected === actual) return [];
    let at = 0;
    while (expected[at] === actual[at]) at += 1;
    const label = expected.slice(0, expected.indexOf(":"));
    const from = Math.max(0, at - SHOWN_BEFORE);
    return [`${label}\n  real: ${expected.slice(from, at + SHOWN)}\n  sim:  ${actual.slice(from, at + SHOWN)}`];
  });
}

const SHOWN_BEFORE = 40;
const SHOWN = 160;
