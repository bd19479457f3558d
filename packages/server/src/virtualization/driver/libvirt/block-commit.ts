/**
 * Merging a layer of a running guest's disk into the one below (libvirt 9.0 virDomainBlockCommit). The active layer is
 * copied until the copy keeps up ("ready"), then the guest pivots to the lower one. Idempotent: what the chain and the
 * job say decides, not what an earlier call believed. A cancelled or failed job leaves the chain as it was.
 */
import {
  VIR_DOMAIN_BLOCK_COMMIT_ACTIVE,
  VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT,
  VIR_DOMAIN_BLOCK_JOB_CANCELED,
  VIR_DOMAIN_BLOCK_JOB_FAILED,
  VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT,
  VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT,
} from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import type { LongCall } from "#core/call.ts";
import { isLibvirtCode } from "#libvirt/error.ts";
import { readXml, type ReadElement } from "#libvirt/read-xml.ts";
import type { GuestSnapshot } from "#virtualization/port.ts";
import type { DomainCall, GuestDriverContext } from "./driver-context.ts";
import { diskByTarget, readBackingChain, sourceText } from "./domain-xml/disk.ts";
import { attribute, child } from "./domain-xml/element.ts";

type MergeOptions = Parameters<GuestSnapshot["mergeDown"]>[1];

/** Between two looks at a job; its events shorten the wait. */
const pollMs = 250;
const cancelDeadlineMs = 10_000;

interface Job {
  readonly type: number;
  readonly done: number;
  readonly total: number;
}

export async function mergeDown(
  context: GuestDriverContext,
  domain: DomainCall,
  options: MergeOptions,
  call: LongCall,
): Promise<void> {
  const { connection, remote, dom } = domain;
  const wake = new JobWake();
  const over = new AbortController();
  const events = connection.events.domain("blockJob2", { signal: over.signal, domain: dom });
  const watching = watch(events, options.target, wake);
  try {
    // Without events the poll alone finds out.
    await events.ready.catch(() => undefined);
    const job = await readJob(domain, options.target);
    if (job === undefined) {
      const chain = await readChain(domain, options.target);
      if (isMerged(chain, options)) return;
      const flags = chain[0] === options.topPath ? VIR_DOMAIN_BLOCK_COMMIT_ACTIVE : 0;
      const layers = { disk: options.target, base: options.basePath, top: options.topPath };
      await remote.domainBlockCommit({ dom, ...layers, bandwidth: 0n, flags }, domain.options).catch(joinPresent);
    } else if (job.type !== VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT && job.type !== VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT) {
      throw new AppError("conflict", `Disk ${options.target} is busy with another block job.`);
    }
    await finish(context, domain, options, call, wake);
  } catch (error) {
    if (domain.options.signal.aborted) await cancel(context, domain, options);
    throw error;
  } finally {
    over.abort();
    await watching;
  }
}

/** Someone began the same between our look and our call. */
function joinPresent(error: unknown): void {
  if (!isLibvirtCode(error, "VIR_ERR_BLOCK_COPY_ACTIVE")) throw error;
}

async function readChain({ remote, dom, options }: DomainCall, target: string): Promise<string[]> {
  const disk = diskByTarget(readXml((await remote.domainGetXmlDesc({ dom }, options)).xml), target);
  if (disk === undefined) throw new AppError("invalid_field", `The VM has no disk ${target}.`, { field: "target" });
  return [sourceText(disk) ?? "", ...readBackingChain(disk)];
}

/** A layer that is gone from the chain, with the one below still in it, has been merged. */
function isMerged(chain: readonly string[], { topPath, basePath }: MergeOptions): boolean {
  const top = chain.indexOf(topPath);
  const base = chain.indexOf(basePath);
  if (base === -1) {
    throw new AppError("conflict", `The disk has no layer ${basePath}; its layers are ${chain.join(", ")}.`);
  }
  if (top === -1) return true;
  if (top + 1 !== base) throw new AppError("conflict", `${basePath} is not the layer below ${topPath}.`);
  return false;
}

async function readJob({ remote, dom, options }: DomainCall, target: string): Promise<Job | undefined> {
  const info = await remote.domainGetBlockJobInfo({ dom, path: target }, options);
  return info.found === 0 ? undefined : { type: info.type, done: Number(info.cur), total: Number(info.end) };
}

/** Follows the job to its end; pivots when the copy keeps up. */
async function finish(
  { clock }: GuestDriverContext,
  domain: DomainCall,
  options: MergeOptions,
  call: LongCall,
  wake: JobWake,
): Promise<void> {
  for (;;) {
    const job = await readJob(domain, options.target);
    if (job === undefined) break;
    if (job.total > 0) call.onProgress?.(Math.min(job.done, job.total), job.total);
    if (job.type === VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT && (await isReady(domain, options.target))) {
      await pivot(domain, options.target);
    }
    await wake.wait(clock.sleep(pollMs, domain.options.signal));
  }
  const chain = await readChain(domain, options.target);
  if (!chain.includes(options.topPath)) return;
  const words = wake.failed ? "failed" : "was cancelled";
  throw new AppError("host_failed", `Merging a layer of disk ${options.target} ${words}; its layers are as before.`, {
    remedy: "Look for a full or failing disk: the host's libvirt log names the reason.",
  });
}

async function isReady({ remote, dom, options }: DomainCall, target: string): Promise<boolean> {
  const root: ReadElement = readXml((await remote.domainGetXmlDesc({ dom }, options)).xml);
  const disk = diskByTarget(root, target);
  return attribute(child(disk, "mirror"), "ready") === "yes";
}

/** "Not ready yet" and "no job any more" both mean: look again. */
async function pivot({ remote, dom, options }: DomainCall, target: string): Promise<void> {
  const flags = VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT;
  await remote.domainBlockJobAbort({ dom, path: target, flags }, options).catch((error: unknown) => {
    const lookAgain = ["VIR_ERR_BLOCK_COPY_ACTIVE", "VIR_ERR_OPERATION_INVALID", "VIR_ERR_INVALID_ARG"];
    if (!lookAgain.some((name) => isLibvirtCode(error, name))) throw error;
  });
}

/** On a signal of its own: the caller's has aborted. */
async function cancel(context: GuestDriverContext, { dom }: DomainCall, options: MergeOptions): Promise<void> {
  const signal = AbortSignal.timeout(cancelDeadlineMs);
  try {
    const { remote } = await context.session.connection({ signal });
    await remote.domainBlockJobAbort({ dom, path: options.target }, { signal });
  } catch (error) {
    context.log.info({ target: options.target, reason: String(error) }, "the block job was not cancelled");
  }
}

/** Wakes the poll early when libvirt reports something about the job. */
class JobWake {
  failed = false;
  #event = Promise.withResolvers<void>();

  notify(status: number): void {
    if (status === VIR_DOMAIN_BLOCK_JOB_FAILED) this.failed = true;
    if (status === VIR_DOMAIN_BLOCK_JOB_CANCELED) this.failed = false;
    this.#event.resolve();
  }

  async wait(sleep: Promise<void>): Promise<void> {
    await Promise.race([sleep, this.#event.promise]);
    sleep.catch(() => undefined);
    this.#event = Promise.withResolvers<void>();
  }
}

async function watch(
  events: AsyncIterable<{ readonly dst: string; readonly status: number }>,
  target: string,
  wake: JobWake,
): Promise<void> {
  try {
    for await (const event of events) if (event.dst === target) wake.notify(event.status);
  } catch {
    // The connection is lost: the poll reports it.
  }
}
