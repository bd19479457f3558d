// A fleet of three hosts on virtual time with clients of its own: what tests of migrations and of faults begin with.
import { strict as assert } from "node:assert";
import {
  LibvirtError,
  VIR_MIGRATE_LIVE,
  VIR_MIGRATE_PEER2PEER,
  VIR_MIGRATE_PERSIST_DEST,
  VIR_MIGRATE_UNDEFINE_SOURCE,
  connect,
} from "@innkeeper/libvirt";
import type { Connection, TypedParameterInput } from "@innkeeper/libvirt";
import { byCounts } from "#fleet/declaration.ts";
import type { Counts } from "#fleet/declaration.ts";
import { Fleet } from "#fleet/fleet.ts";
import { VirtualClock } from "#host/clock.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";

const COUNTS = { clusters: 1, hosts: 3, vms: 4, seed: 1, storage: "shared" } as const;
/** As a user moves a guest for good. */
export const MOVE = VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE;

export class Bench implements AsyncDisposable {
  readonly clock = new VirtualClock();
  readonly fleet: Fleet;
  readonly #connections: Connection[] = [];

  constructor(counts: Partial<Counts> = {}) {
    this.fleet = new Fleet(byCounts({ ...COUNTS, ...counts }), this.clock);
  }

  async client(name: string): Promise<Connection> {
    const { daemon } = this.fleet.find(name);
    const connection = await connect("qemu:///system", { dial: () => daemon.dial(), keepalive: false });
    this.#connections.push(connection);
    return connection;
  }

  running(name: string): SimDomain {
    const found = [...this.fleet.find(name).host.domains.all].find(({ isActive }) => isActive);
    assert.ok(found);
    return found;
  }

  /** Lets time pass until the promise settles. */
  async until<T>(promise: Promise<T>, stepMs = 100): Promise<T> {
    const state = { isSettled: false };
    const settled = promise.finally(() => (state.isSettled = true));
    settled.catch(() => undefined);
    for (let step = 0; !state.isSettled && step < 10_000; step += 1) await this.clock.advance(stepMs);
    return await settled;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#connections) await connection.close();
    await this.fleet[Symbol.asyncDispose]();
  }
}

export function refused(code: string, words: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof LibvirtError, String(error));
    assert.equal(error.codeName, code, error.message);
    assert.match(error.message, words);
    return true;
  };
}

export function move(
  { remote }: Connection,
  domain: SimDomain,
  to: string,
  flags = MOVE,
  params: TypedParameterInput = {},
): Promise<unknown> {
  const dconnuri = `qemu+tcp://${to}/system`;
  return remote.domainMigratePerform3Params({ dom: domain.ref, dconnuri, params, cookieIn: new Uint8Array(), flags });
}
