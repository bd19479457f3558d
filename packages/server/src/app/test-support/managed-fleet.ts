/** A simulated fleet that a whole control plane manages, both in this process: for tests of what becomes of it when hosts fail. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Event } from "@innkeeper/contract/resource/event.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { byCounts } from "@innkeeper/sim/fleet/declaration.ts";
import { Fleet, type FleetHost } from "@innkeeper/sim/fleet/fleet.ts";
import { readRule } from "@innkeeper/sim/fault/rule.ts";
import { RealClock } from "@innkeeper/sim/host/clock.ts";
import type { Clock } from "#core/clock.ts";
import { systemClock } from "#core/system-clock.ts";
import type { Wiring } from "../wiring.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

const lookMs = 50;
const waitMs = 10_000;

interface ManagedFleetOptions {
  readonly hosts: number;
  readonly vms: number;
  /** Of the control plane; default: the machine's. */
  readonly clock?: Clock;
}

interface Shown {
  readonly host: Host;
  readonly vm: Vm;
  readonly event: Event;
  readonly snapshot: Snapshot;
}

export class ManagedFleet implements AsyncDisposable {
  readonly fleet: Fleet;
  readonly server: TestServer;
  readonly #wiring: () => Wiring;
  readonly #begun: AsyncDisposableStack;

  private constructor(fleet: Fleet, server: TestServer, wiring: () => Wiring, begun: AsyncDisposableStack) {
    this.fleet = fleet;
    this.server = server;
    this.#wiring = wiring;
    this.#begun = begun;
  }

  /** All hosts are connected, and what is on them is known. */
  static async start({ clock: ownClock, ...counts }: ManagedFleetOptions): Promise<ManagedFleet> {
    await using begun = new AsyncDisposableStack();
    const folder = await mkdtemp(path.join(tmpdir(), "inn-fleet-"));
    begun.defer(() => rm(folder, { recursive: true, force: true }));
    const clock = begun.use(new RealClock());
    const timing = { startMs: 20, bootMs: 200, shutdownMs: 100 };
    const declared = byCounts({ clusters: 1, seed: 5, storage: "local", ...counts });
    // Whether KVM works is not what is tested, and would be looked into on each.
    const clusters = declared.clusters.map((each) => ({ ...each, node: { ...each.node, hasKvm: false } }));
    const fleet = begun.use(new Fleet({ ...declared, clusters }, clock, timing));
    await fleet.listenUnix(folder);
    let wiring: Wiring | undefined;
    const server = begun.use(
      await startTestServer({
        ...(ownClock === undefined ? {} : { clock: ownClock }),
        replace: (made) => {
          wiring = made;
          return {};
        },
      }),
    );
    const made = (): Wiring => {
      if (wiring === undefined) throw new Error("nothing was wired");
      return wiring;
    };
    const managed = new ManagedFleet(fleet, server, made, begun.move());
    try {
      await Promise.all(fleet.hosts.map(({ name, uris: [uri] }) => managed.succeed("POST", "/hosts", { name, uri })));
      return managed;
    } catch (error) {
      await managed[Symbol.asyncDispose]();
      throw error;
    }
  }

  get wiring(): Wiring {
    return this.#wiring();
  }

  /** One rule a procedure; without any the hosts read nothing more. Names may have `*`. */
  hang(hosts: readonly FleetHost[], ...procedures: readonly string[]): void {
    const rules = hosts.flatMap(({ name: host }) =>
      procedures.length === 0
        ? [readRule({ kind: "hang", host })]
        : procedures.map((procedure) => readRule({ kind: "hang", host, procedure })),
    );
    this.fleet.setFaults([...this.fleet.faults, ...rules]);
  }

  async list<K extends keyof Shown>(kind: K, filter = ""): Promise<Shown[K][]> {
    const items: Shown[K][] = [];
    for (let cursor = ""; ;) {
      const query = new URLSearchParams({ limit: "1000", ...(filter && { filter }), ...(cursor && { cursor }) });
      const { status, body } = await this.server.admin("GET", `/${kind}s?${query}`);
      if (status !== 200) throw new Error(JSON.stringify(body));
      items.push(...(body["items"] as Shown[K][]));
      if (body["nextCursor"] === undefined) return items;
      cursor = String(body["nextCursor"]);
    }
  }

  async count(kind: keyof Shown, filter = ""): Promise<number> {
    const query = new URLSearchParams({ limit: "1", ...(filter && { filter }) });
    return Number((await this.server.admin("GET", `/${kind}s?${query}`)).body["totalCount"]);
  }

  /** A task is asked for, and waited for. */
  async run(method: string, where: string, body?: unknown): Promise<Task> {
    const asked = await this.server.admin(method, where, body);
    if (asked.status !== 202) throw new Error(`${method} ${where}: ${JSON.stringify(asked.body)}`);
    for (;;) {
      const { body: task } = await this.server.admin("GET", `/tasks/${String(asked.body["id"])}?waitMs=${waitMs}`);
      if (task["finishedAt"] !== undefined) return task as unknown as Task;
    }
  }

  async succeed(method: string, where: string, body?: unknown): Promise<Task> {
    const task = await this.run(method, where, body);
    if (task.state !== "succeeded") throw new Error(`${where}: ${task.state} ${JSON.stringify(task.error)}`);
    return task;
  }

  async until(what: string, condition: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
    const signal = AbortSignal.timeout(timeoutMs);
    while (!(await condition())) {
      if (signal.aborted) throw new Error(`not seen within ${timeoutMs} ms: ${what}`);
      await systemClock.sleep(lookMs);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#begun.disposeAsync();
  }
}
