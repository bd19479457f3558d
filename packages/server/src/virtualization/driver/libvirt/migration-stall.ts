/**
 * Copies of disks that hang. When the target goes silent while a disk is copied to it, libvirt notices after its keepalive,
 * and tells QEMU to end the copy; QEMU then waits for answers to its requests, up to 15 minutes (Linux tcp_retries2), in its
 * main loop: the guest can't be managed, and hardly runs. QEMU's `yank` breaks such connections (QEMU 6.0 qapi/yank.json),
 * as long as its main loop turns: before libvirt gives up. libvirt has no call for it. Invariant: only what has not moved
 * a byte for long is broken, and of it only the migration's own connections (libvirt 9.0 qemu_migration.c names their
 * nodes migration-<disk>-storage); the migration fails then, and the guest runs on where it was.
 */
import type { TypedParameters } from "@innkeeper/libvirt";
import type { DomainCall, GuestDriverContext } from "./driver-context.ts";
import { numberOf } from "./job-progress.ts";

/** Half of what libvirt takes to find its peer gone (libvirt 9.0 qemu.conf: keepalive_interval 5, keepalive_count 5: 30 s). */
const stallMs = 15_000;
const pollMs = 1_000;
const askMs = 10_000;

export class StallWatch {
  readonly #context: GuestDriverContext;
  readonly #domain: DomainCall;
  #moved = 0;
  #sinceMs: number;

  constructor(context: GuestDriverContext, domain: DomainCall) {
    this.#context = context;
    this.#domain = domain;
    this.#sinceMs = context.clock.monotonicMs();
  }

  onStats(stats: TypedParameters): void {
    const moved = numberOf(stats["data_processed"]) ?? 0;
    if (moved === this.#moved) return;
    this.#moved = moved;
    this.#sinceMs = this.#context.clock.monotonicMs();
  }

  /** Ends with the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#context;
    while (!signal.aborted) {
      await clock.sleep(pollMs, signal).catch(() => undefined);
      if (signal.aborted || clock.monotonicMs() - this.#sinceMs < stallMs) continue;
      this.#sinceMs = clock.monotonicMs();
      await this.#breakCopies(signal).catch((error: unknown) =>
        log.debug({ reason: String(error) }, "a migration that stands still can't be helped"),
      );
    }
  }

  async #breakCopies(signal: AbortSignal): Promise<void> {
    const { connection, dom } = this.#domain;
    const options = { signal: AbortSignal.any([signal, AbortSignal.timeout(askMs)]) };
    const ask = async (cmd: object): Promise<unknown> =>
      JSON.parse((await connection.qemu.domainMonitorCommand({ dom, cmd: JSON.stringify(cmd) }, options)).result);
    const instances = copiesIn(await ask({ execute: "query-yank" }));
    if (instances.length === 0) return;
    this.#context.log.warn({ uuid: dom.uuid, instances }, "copies of disks to the target hang: breaking them");
    await ask({ execute: "yank", arguments: { instances } });
  }
}

/** The migration's own among what QEMU can break. */
export function copiesIn(answer: unknown): object[] {
  const list = typeof answer === "object" && answer !== null && "return" in answer ? answer.return : undefined;
  if (!Array.isArray(list)) return [];
  return list.filter(
    (instance: unknown): instance is object =>
      typeof instance === "object" &&
      instance !== null &&
      "node-name" in instance &&
      /^migration-.+-storage$/.test(String(instance["node-name"])),
  );
}
