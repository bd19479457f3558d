/**
 * Progress of a job that one libvirt call runs to its end (migration, memory snapshot): asked for while the call is under
 * way (libvirt 9.0 virDomainGetJobStats). Questions that fail are no failure of the job.
 */
import type { TypedParameters } from "@innkeeper/libvirt";
import type { LongCall } from "#core/call.ts";
import type { Clock } from "#core/clock.ts";
import type { DomainCall } from "./driver-context.ts";

const pollMs = 250;

/** Runs `job`; calls `onStats` with what libvirt reports, a few times a second. */
export async function withJobStats<T>(
  { remote, dom, options }: DomainCall,
  clock: Clock,
  job: Promise<T>,
  onStats: (stats: TypedParameters) => void,
): Promise<T> {
  const over = new AbortController();
  const poll = async (): Promise<void> => {
    while (!over.signal.aborted) {
      await clock.sleep(pollMs, over.signal);
      const { params } = await remote.domainGetJobStats({ dom }, { ...options, signal: over.signal });
      onStats(params);
    }
  };
  const polling = (async () => {
    while (!over.signal.aborted) await poll().catch(() => undefined);
  })();
  try {
    return await job;
  } finally {
    over.abort();
    await polling;
  }
}

export function reportProgress(call: LongCall, stats: TypedParameters): void {
  const total = numberOf(stats["data_total"]);
  const remaining = numberOf(stats["data_remaining"]);
  if (total !== undefined && total > 0 && remaining !== undefined) call.onProgress?.(total - remaining, total);
}

export function numberOf(value: unknown): number | undefined {
  return typeof value === "number" || typeof value === "bigint" ? Number(value) : undefined;
}
