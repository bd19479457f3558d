/** Changes that are made on hosts, behind the control plane's back, and what a watch hears of them. */
import { setTimeout as delay } from "node:timers/promises";
import { type Connection, connect, type NonnullDomain, VIR_CONNECT_LIST_DOMAINS_RUNNING } from "@innkeeper/libvirt";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { ServerProcess } from "@innkeeper/server/app/test-support/server-process.ts";

type GuestState = "running" | "paused";

interface Guest {
  readonly dom: NonnullDomain;
  readonly remote: Connection["remote"];
  state: GuestState;
  changedAtMs: number;
  /** Its changes come one after the other. */
  changing: Promise<void>;
}

/** How long the last changes may take to come through. */
const lossDeadlineMs = 30_000;

/** Guests that run, which it suspends and resumes. */
export class GuestStorm implements AsyncDisposable {
  readonly #connections: readonly Connection[];
  readonly guests: readonly Guest[];

  private constructor(connections: readonly Connection[], guests: readonly Guest[]) {
    this.#connections = connections;
    this.guests = guests;
  }

  static async open(hosts: readonly { readonly uri: string }[]): Promise<GuestStorm> {
    const connections = await Promise.all(hosts.map(({ uri }) => connect(uri)));
    const guests = await Promise.all(
      connections.map(async ({ remote }) => {
        const flags = VIR_CONNECT_LIST_DOMAINS_RUNNING;
        const { domains } = await remote.connectListAllDomains({ needResults: 1, flags });
        const changing = Promise.resolve();
        return domains.map((dom): Guest => ({ dom, remote, state: "running", changedAtMs: 0, changing }));
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
      guest.changing = toggle(guest);
      made++;
    }
    await Promise.all(this.guests.map(({ changing }) => changing));
    return (made * 1000) / (performance.now() - startMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const guest of this.guests) if (guest.state === "paused") await toggle(guest);
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }
}

async function toggle(guest: Guest): Promise<void> {
  const { dom, remote } = guest;
  const next = guest.state === "running" ? "paused" : "running";
  await (next === "paused" ? remote.domainSuspend({ dom }) : remote.domainResume({ dom }));
  guest.state = next;
  guest.changedAtMs = performance.now();
}

interface Heard {
  readonly state: string;
  readonly atMs: number;
}

export interface VmWatch extends Disposable {
  /** Waits for the last change of each guest. Delays in order of size, of those last changes. */
  compare(storm: GuestStorm): Promise<{ readonly delaysMs: readonly number[]; readonly lost: number }>;
}

/** Begins to listen; resolves when the stream is open. */
export async function watchVms({ url, token }: ServerProcess): Promise<VmWatch> {
  const stop = new AbortController();
  const response = await fetch(`${url}/api/v1/watch?kind=vm`, {
    headers: { authorization: `Bearer ${token}` },
    signal: stop.signal,
  });
  if (!response.ok || response.body === null) throw new Error(`the watch was refused: ${response.status}`);
  const heard = new Map<string, Heard>();
  const reading = listen(response.body, heard).catch(() => undefined);
  return {
    async compare({ guests }) {
      const touched = guests.filter(({ changedAtMs }) => changedAtMs > 0);
      const deadlineMs = performance.now() + lossDeadlineMs;
      while (!touched.every((guest) => isHeard(heard, guest)) && performance.now() < deadlineMs) await delay(100);
      const delaysMs = touched
        .filter((guest) => isHeard(heard, guest))
        .map(({ dom, changedAtMs }) => Math.max(0, (heard.get(dom.uuid)?.atMs ?? 0) - changedAtMs));
      return { delaysMs: delaysMs.toSorted((a, b) => a - b), lost: touched.length - delaysMs.length };
    },
    [Symbol.dispose]() {
      stop.abort();
      void reading;
    },
  };
}

function isHeard(heard: ReadonlyMap<string, Heard>, { dom, state }: Guest): boolean {
  return heard.get(dom.uuid)?.state === state;
}

async function listen(body: ReadableStream<Uint8Array>, heard: Map<string, Heard>): Promise<void> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const { resource } = JSON.parse(line.slice(6)) as { resource?: Vm };
      if (resource !== undefined) heard.set(resource.uuid, { state: resource.state, atMs: performance.now() });
    }
  }
}
