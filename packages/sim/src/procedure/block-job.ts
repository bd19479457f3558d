// Block jobs of running domains (libvirt 9.0 qemuDomainBlock* in src/qemu/qemu_driver.c).
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import { copyTargetOf } from "#host/block-job/block-jobs.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";
import { parseDocument } from "#xml/document.ts";

const has = (flags: number | undefined, flag: number): boolean => ((flags ?? 0) & flag) !== 0;
const MIB = 1_048_576;

/** In MiB/s, unless a flag says bytes. */
function bytesPerS(bandwidth: bigint, flags: number | undefined, bytesFlag: number): number {
  return Number(bandwidth) * (has(flags, bytesFlag) ? 1 : MIB);
}

type DomainRef = Parameters<SimHost["domains"]["require"]>[0];
const domainOf = (host: SimHost, dom: DomainRef) => host.domains.require(dom);

export const blockJobProcedures: Procedures = {
  remote: {
    domainBlockCommit: (host, { dom, disk, base, top, bandwidth, flags }) =>
      host.blockJobs.commit(domainOf(host, dom), {
        disk,
        base: base ?? null,
        top: top ?? null,
        bandwidthBytesPerS: bytesPerS(bandwidth, flags, lv.VIR_DOMAIN_BLOCK_COMMIT_BANDWIDTH_BYTES),
        isShallow: has(flags, lv.VIR_DOMAIN_BLOCK_COMMIT_SHALLOW),
        isActive: has(flags, lv.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE),
        isDeleting: has(flags, lv.VIR_DOMAIN_BLOCK_COMMIT_DELETE),
      }),
    domainBlockPull: (host, { dom, path, bandwidth, flags }) =>
      host.blockJobs.pull(
        domainOf(host, dom),
        path,
        null,
        bytesPerS(bandwidth, flags, lv.VIR_DOMAIN_BLOCK_PULL_BANDWIDTH_BYTES),
      ),
    domainBlockRebase: (host, { dom, path, base, bandwidth, flags }) => {
      const domain = domainOf(host, dom);
      const speed = bytesPerS(bandwidth, flags, lv.VIR_DOMAIN_BLOCK_REBASE_BANDWIDTH_BYTES);
      if (!has(flags, lv.VIR_DOMAIN_BLOCK_REBASE_COPY)) return host.blockJobs.pull(domain, path, base ?? null, speed);
      const copy = {
        path: base ?? "",
        isReused: has(flags, lv.VIR_DOMAIN_BLOCK_REBASE_REUSE_EXT),
        isShallow: has(flags, lv.VIR_DOMAIN_BLOCK_REBASE_SHALLOW),
        isTransientJob: false,
        ...(has(flags, lv.VIR_DOMAIN_BLOCK_REBASE_COPY_RAW) ? { format: "raw" } : {}),
      };
      host.blockJobs.copy(domain, path, copy, speed);
    },
    domainBlockCopy: (host, { dom, path, destxml, params, flags }) => {
      const copy = {
        ...copyTargetOf(parseDocument(destxml, "(disk_definition)", "disk")),
        isReused: has(flags, lv.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT),
        isShallow: has(flags, lv.VIR_DOMAIN_BLOCK_COPY_SHALLOW),
        isTransientJob: has(flags, lv.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB),
      };
      host.blockJobs.copy(domainOf(host, dom), path, copy, Number(params[lv.VIR_DOMAIN_BLOCK_COPY_BANDWIDTH] ?? 0));
    },
    domainBlockResize: (host, { dom, disk, size, flags }) => {
      const unit = has(flags, lv.VIR_DOMAIN_BLOCK_RESIZE_BYTES) ? 1 : 1_024;
      host.blockJobs.resize(domainOf(host, dom), disk, Number(size) * unit);
    },
    domainBlockJobAbort: (host, { dom, path, flags }) =>
      host.blockJobs.abort(domainOf(host, dom), path, has(flags, lv.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)),
    domainBlockJobSetSpeed: (host, { dom, path, bandwidth, flags }) => {
      const speed = bytesPerS(bandwidth, flags, lv.VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES);
      host.blockJobs.require(domainOf(host, dom), path).setBandwidth(speed);
    },
    domainGetBlockJobInfo: (host, { dom, path, flags }) => {
      const job = host.blockJobs.find(domainOf(host, dom), path);
      if (job === undefined) return { found: 0, type: 0, bandwidth: 0n, cur: 0n, end: 0n };
      const { type, totalBytes } = job.options;
      const isBytes = has(flags, lv.VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES);
      const bandwidth = BigInt(isBytes ? job.bandwidthBytesPerS : Math.ceil(job.bandwidthBytesPerS / MIB));
      // Nothing to copy, and all of it done or not (qemuBlockJobInfoTranslate).
      const [cur, end] = totalBytes === 0 ? [job.isReady ? 1 : 0, 1] : [job.doneBytes, totalBytes];
      return { found: 1, type, bandwidth, cur: BigInt(cur), end: BigInt(end) };
    },
  },
};
