/** Changes that are made on hosts, behind the control plane's back, and what a watch hears of them. */
import { setTimeout as delay } from "node:timers/promises";
import { type Connection, connect, type NonnullDomain, VIR_CONNECT_LIST_DOMAINS_RUNNING } from "@innkeeper/libvirt";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { ServerProcess } from "@innkeeper/server/app/test-support/server-process.ts";

/** What a change makes of a guest. */
type GuestState = "running" | "paused" | "shutoff";

interface Guest {
  readonly dom: NonnullDomain;
  readonly remote: Connection["remote"];
  /** The state that it goes to and back from. */
  readonly other: "paused" | "shutoff";
  state: GuestState;
  /** Its last change was asked for. */
  changedAtMs: number;
  /** As the watch told last. */
  heard: string;
  /** Something was told of its last change. */
  isHeard: boolean;
  /** Its changes come one after the other. */
  changing: Promise<void>;
}

/** One in so many is switched off and on, the others are suspended and resumed. */
const switchedOff = 5;
/** How long the last changes may take to come through. */
const lossDeadlineMs = 30_000;

/** Guests that run, which it suspends and resumes, or switches off and on. */
export class GuestStorm implements AsyncDisposable {
  readonly #connections: readonly Connection[];
  readonly guests: readonly Guest[];
  /** Of each change until it was heard of; of one that was overtaken by the next, until that. */
  delaysMs: number[] = [];
  #byUuid: ReadonlyMap<string, Guest>;

  private constructor(connections: readonly Connection[], guests: readonly Guest[]) {
    this.#connections = connections;
    this.guests = guests;
    this.#byUuid = new Map(guests.map((guest) => [guest.dom.uuid, guest]));
  }

  static async open(hosts: readonly { readonly uri: string }[]): Promise<GuestStorm> {
    const connections = await Promise.all(hosts.map(({ uri }) => connect(uri)));
    const guests = await Promise.all(
      connections.map(async ({ remote }) => {
        const flags = VIR_CONNECT_LIST_DOMAINS_RUNNING;
        const { domains } = await remote.connectListAllDomains({ needResults: 1, flags });
        return domains.map((dom, index): Guest => {
          const other = index % switchedOff === 0 ? "shutoff" : "paused";
          const changing = Promise.resolve();
          return { dom, remote, other, state: "running", changedAtMs: 0, heard: "running", isHeard: true, changing };
        });
      }),
    );
    return new GuestStorm(connections, guests.flat());
  }

  /** The rate that was reached, in changes a second. */
  async run(perSecond: number, seconds: number): Promise<number> {
    const startMs = performance.now();
    let made = 0;
    for (let index = 0; index < perSecond * seconds; index++) {
      const nowMs = performance.now();
      if (nowMs - startMs > seconds * 1000) break;
      const waitMs = startMs + (index * 1000) / perSecond - nowMs;
      if (waitMs > 1) await delay(waitMs);
      const guest = this.guests[index % this.guests.length];
      if (guest === undefined) break;
      await guest.changing;
      const askedMs = performance.now();
      if (!guest.isHeard) this.delaysMs.push(askedMs - guest.changedAtMs);
      guest.changing = toggle(guest, askedMs);
      made++;
    }
    await Promise.all(this.guests.map(({ changing }) => changing));
    return (made * 1000) / (performance.now() - startMs);
  }

  /** The watch told of a VM. */
  hear(uuid: string, state: string): void {
    const guest = this.#byUuid.get(uuid);
    if (guest === undefined) return;
    guest.heard = state;
    if (guest.isHeard || guest.state !== state) return;
    guest.isHeard = true;
    this.delaysMs.push(performance.now() - guest.changedAtMs);
  }

  /** Waits for the last change of each guest; how many did not come through. */
  async lost(): Promise<number> {
    const deadlineMs = performance.now() + lossDeadlineMs;
    const missing = (): number => this.guests.filter(({ heard, state }) => heard !== state).length;
    while (missing() > 0 && performance.now() < deadlineMs) await delay(100);
    return missing();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const guest of this.guests) if (guest.state !== "running") await toggle(guest, performance.now());
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }
}

async function toggle(guest: Guest, askedMs: number): Promise<void> {
  const { dom, remote, other } = guest;
  const back = guest.state !== "running";
  guest.state = back ? "running" : other;
  guest.changedAtMs = askedMs;
  guest.isHeard = false;
  if (other === "paused") await (back ? remote.domainResume({ dom }) : remote.domainSuspend({ dom }));
  else await (back ? remote.domainCreate({ dom }) : remote.domainDestroy({ dom }));
}

/** The storm hears what comes over the watch from now on. Resolves when the stream is open. */
export async function watchVms({ url, token }: ServerProcess, storm: GuestStorm): Promise<Disposable> {
  const stop = new AbortController();
  const response = await fetch(`${url}/api/v1/watch?kind=vm`, {
    headers: { authorization: `Bearer ${token}` },
    signal: stop.signal,
  });
  if (!response.ok || response.body === null) throw new Error(`the watch was refused: ${response.status}`);
  const reading = listen(response.body, storm).catch(() => undefined);
  return {
    [Symbol.dispose]() {
      stop.abort();
      void reading;
    },
  };
}

async function listen(body: ReadableStream<Uint8Array>, storm: GuestStorm): Promise<void> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const { resource } = JSON.parse(line.slice(6)) as { resource?: Vm };
      if (resource !== undefined) storm.hear(resource.uuid, resource.state);
    }
  }
}
