/**
 * Migration, peer to peer: the source's libvirtd drives it (libvirt 9.0 virDomainMigrateToURI3), so that it goes on
 * when Innkeeper or its connection is gone. UNSAFE is set because libvirt calls every shared folder that is no cluster
 * file system unsafe; that storage is shared is management's knowledge, and disks that are not are copied. Caches on the
 * target are no danger: QEMU drops them when it takes a disk over (block/file-posix.c raw_co_invalidate_cache, since 3.0).
 */
import {
  LibvirtError,
  parseUri,
  type TypedParameterInput,
  type TypedParameters,
  VIR_DOMAIN_JOB_NONE,
  VIR_MIGRATE_ABORT_ON_ERROR,
  VIR_MIGRATE_AUTO_CONVERGE,
  VIR_MIGRATE_LIVE,
  VIR_MIGRATE_NON_SHARED_DISK,
  VIR_MIGRATE_OFFLINE,
  VIR_MIGRATE_PEER2PEER,
  VIR_MIGRATE_PERSIST_DEST,
  VIR_MIGRATE_POSTCOPY,
  VIR_MIGRATE_TLS,
  VIR_MIGRATE_UNDEFINE_SOURCE,
  VIR_MIGRATE_UNSAFE,
} from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import type { LongCall } from "#core/call.ts";
import { isLibvirtCode } from "#libvirt/error.ts";
import { longDeadlineMs, onConnection } from "#libvirt/session.ts";
import type { GuestMigration, MigrationOptions, MigrationResult } from "#virtualization/migration/port.ts";
import { cancellableJob } from "./cancellable-job.ts";
import { type DomainCall, type GuestDriverContext, jobDeadlineMs, onDomain, untimed } from "./driver-context.ts";
import { deleteState, readState, writeState } from "./guest-state.ts";
import { markState, unmarkState } from "./state-mark.ts";
import { missingCertificates } from "./migration-certificate.ts";
import { contactHost } from "./migration-contact.ts";
import { StallWatch } from "./migration-stall.ts";
import { readReception } from "./migration-reception.ts";
import { readTraits } from "./migration-traits.ts";
import { numberOf, reportProgress, withJobStats } from "./job-progress.ts";

export function guestMigration(context: GuestDriverContext): GuestMigration {
  return {
    traits: (uuid, call) =>
      onDomain(context, uuid, call, "read what ties the VM to its host", (domain) => readTraits(domain, context.uri)),
    reception: (traits, call) =>
      onConnection(
        context,
        call,
        "ask what the host offers to the VM",
        ({ connection, options }) => readReception(connection, context.uri, traits, options),
        longDeadlineMs,
      ),
    missingCertificates: (end, call) =>
      onConnection(context, call, "look for QEMU's certificates", (connected) => missingCertificates(connected, end)),
    contact: (uuid, { targetUri }, call) =>
      onDomain(context, uuid, call, "reach the target host", (domain) => contactHost(domain, targetUri)),
    migrateLive: async (uuid, options, call) => {
      // What can be given up is; the migration itself is cancelled, not given up (see migrateLive).
      await onDomain(context, uuid, call, "migrate the VM", refuseUnlessActive);
      const uncancelled = { signal: new AbortController().signal };
      const run = (domain: DomainCall) => migrateLive(context, domain, options, call);
      return await onDomain(context, uuid, uncancelled, "migrate the VM", run, jobDeadlineMs);
    },
    readState: (uuid, call) =>
      onDomain(context, uuid, call, "read what the host keeps of the VM", readState, longDeadlineMs),
    writeState: (uuid, files, call) =>
      onDomain(
        context,
        uuid,
        call,
        "store what a host keeps of the VM",
        (domain) => writeState(domain, files),
        longDeadlineMs,
      ),
    deleteState: ({ uuid, paths }, call) =>
      onDomain(
        context,
        uuid,
        call,
        "delete what the host keeps of the VM",
        (domain) => deleteState(domain, paths),
        longDeadlineMs,
      ),
    markState: (files, mark, call) =>
      onConnection(context, call, "mark what the host keeps of VMs", ({ connection, options }) =>
        markState(connection, files, mark, options),
      ),
    unmarkState: (files, mark, call) =>
      onConnection(context, call, "take away a mark", ({ connection, options }) =>
        unmarkState(connection, files, mark, options),
      ),
    setAutostart: (uuid, autostart, call) =>
      onDomain(context, uuid, call, "set the VM's autostart", async ({ remote, dom, options }) => {
        await remote.domainSetAutostart({ dom, autostart: autostart ? 1 : 0 }, options);
      }),
    migrateOffline: (uuid, { targetUri }, call) =>
      onDomain(
        context,
        uuid,
        call,
        "move the VM's definition",
        (domain) => migrateOffline(domain, targetUri),
        longDeadlineMs,
      ),
    isBusy: async (uuid, call) => {
      try {
        return await onDomain(context, uuid, call, "ask for the VM's jobs", hasJob);
      } catch (error) {
        if (error instanceof AppError && error.code === "not_found") return false;
        throw error;
      }
    },
    abortMigration: (uuid, call) => onDomain(context, uuid, call, "cancel the migration", abortJob),
  };
}

async function refuseUnlessActive({ remote, dom, options }: DomainCall): Promise<void> {
  const { active } = await remote.domainIsActive({ dom }, options);
  if (active === 0) throw new AppError("invalid_state", "The VM is off: its definition is moved.");
}

/** Its own end is waited for also when it is cancelled: only that says on which host the guest runs. */
async function migrateLive(
  context: GuestDriverContext,
  domain: DomainCall,
  options: MigrationOptions,
  call: LongCall,
): Promise<MigrationResult> {
  call.signal.throwIfAborted();
  const { connection, dom } = domain;
  const over = new AbortController();
  const completed = connection.events.domain("jobCompleted", { signal: over.signal, domain: dom });
  const final = lastStats(completed);
  const startMs = context.clock.monotonicMs();
  const tuning = tune(context, domain, options, over.signal);
  const stall = new StallWatch(context, domain);
  const watching = options.copyDisks.length > 0 ? stall.run(over.signal) : undefined;
  let stats: TypedParameters = {};
  try {
    await completed.ready.catch(() => undefined);
    const job = perform(context, domain, options);
    const words = "The migration was cancelled; the VM runs on where it was.";
    const ended = cancellableJob(context, domain, call, job, words);
    await withJobStats(domain, context.clock, ended, (present) => {
      stats = present;
      tuning.onStats(present);
      stall.onStats(present);
      reportProgress(call, present);
    });
  } finally {
    over.abort();
    await watching;
  }
  stats = { ...stats, ...(await final) };
  const totalMs = numberOf(stats["time_elapsed"]) ?? context.clock.monotonicMs() - startMs;
  const transferredBytes = numberOf(stats["data_processed"]) ?? 0;
  return { totalMs, downtimeMs: numberOf(stats["downtime"]) ?? 0, transferredBytes };
}

/**
 * Memory goes to the address that the target's configuration names (migration_host), else to its own name. Where the source
 * does not know that name, it goes to the address that its daemon has just been reached by. Nothing was sent till then.
 */
async function perform(context: GuestDriverContext, domain: DomainCall, options: MigrationOptions): Promise<void> {
  const { remote, dom } = domain;
  const fixed = { dom, dconnuri: options.targetUri, cookieIn: new Uint8Array(), flags: flagsOf(options) };
  const params = parametersOf(options);
  try {
    await remote.domainMigratePerform3Params({ ...fixed, params }, untimed(domain.options));
  } catch (error) {
    const { host } = parseUri(options.targetUri);
    if (!(error instanceof LibvirtError) || !unknownName.test(error.message) || host === "") throw error;
    const uri = `tcp://${host.includes(":") ? `[${host}]` : host}`;
    context.log.info({ uri, reason: error.message }, "the target's own name is not known to the source");
    await remote.domainMigratePerform3Params(
      { ...fixed, params: { ...params, migrate_uri: uri } },
      untimed(domain.options),
    );
  }
}

/** libvirt 9.0 virnetsocket.c, qemu_migration.c; the name of the daemon's own URI is known by then. */
const unknownName = /unable to resolve address|hostname on destination resolved to localhost/i;

function flagsOf(options: MigrationOptions): number {
  return (
    VIR_MIGRATE_LIVE |
    VIR_MIGRATE_PEER2PEER |
    VIR_MIGRATE_PERSIST_DEST |
    VIR_MIGRATE_UNDEFINE_SOURCE |
    VIR_MIGRATE_ABORT_ON_ERROR |
    VIR_MIGRATE_UNSAFE |
    (options.copyDisks.length > 0 ? VIR_MIGRATE_NON_SHARED_DISK : 0) |
    (options.postCopy ? VIR_MIGRATE_POSTCOPY : 0) |
    (options.autoConverge ? VIR_MIGRATE_AUTO_CONVERGE : 0) |
    (options.encrypt ? VIR_MIGRATE_TLS : 0)
  );
}

function parametersOf(options: MigrationOptions): TypedParameterInput {
  return {
    ...(options.bandwidthMiBps !== undefined && { bandwidth: BigInt(options.bandwidthMiBps) }),
    ...(options.copyDisks.length > 0 && { migrate_disks: [...options.copyDisks] }),
  };
}

interface Tuning {
  onStats(stats: TypedParameters): void;
}

/** What can be set only once the job exists. Each is tried again until it was taken. */
function tune(context: GuestDriverContext, domain: DomainCall, options: MigrationOptions, signal: AbortSignal): Tuning {
  const { remote, dom } = domain;
  let downtimeMs = options.maxDowntimeMs;
  let isPostCopyDue = options.postCopy;
  const attempt = (what: string, work: () => Promise<unknown>, again: () => void): void => {
    work().catch((error: unknown) => {
      if (signal.aborted) return;
      context.log.debug({ what, reason: String(error) }, "not taken by the migration yet");
      again();
    });
  };
  return {
    onStats: (stats) => {
      const wanted = downtimeMs;
      if (wanted !== undefined) {
        downtimeMs = undefined;
        attempt(
          "maximum downtime",
          () => remote.domainMigrateSetMaxDowntime({ dom, downtime: BigInt(wanted) }, { signal }),
          () => (downtimeMs = wanted),
        );
      }
      // The first pass over the memory is cheap to send and lets most page faults be spared.
      if (isPostCopyDue && (numberOf(stats["memory_iteration"]) ?? 0) > 1) {
        isPostCopyDue = false;
        attempt(
          "post-copy",
          () => remote.domainMigrateStartPostCopy({ dom }, { signal }),
          () => (isPostCopyDue = true),
        );
      }
    },
  };
}

async function lastStats(events: AsyncIterable<{ readonly params: TypedParameters }>): Promise<TypedParameters> {
  let last: TypedParameters = {};
  try {
    for await (const { params } of events) last = params;
  } catch {
    // Without the event the polled figures are used.
  }
  return last;
}

async function hasJob({ remote, dom, options }: DomainCall): Promise<boolean> {
  try {
    return (await remote.domainGetJobInfo({ dom }, options)).type !== VIR_DOMAIN_JOB_NONE;
  } catch (error) {
    if (isLibvirtCode(error, "VIR_ERR_OPERATION_INVALID")) return false; // it is off
    throw error;
  }
}

async function abortJob({ remote, dom, options }: DomainCall): Promise<void> {
  await remote.domainAbortJob({ dom }, options).catch((error: unknown) => {
    if (!isLibvirtCode(error, "VIR_ERR_OPERATION_INVALID")) throw error;
  });
}

/** libvirt moves only the XML; see guest-state.ts for the rest. */
async function migrateOffline({ remote, dom, options }: DomainCall, targetUri: string): Promise<void> {
  const { active } = await remote.domainIsActive({ dom }, options);
  if (active === 1) throw new AppError("invalid_state", "The VM runs: it is migrated live.");
  const { result } = await remote.domainHasManagedSaveImage({ dom }, options);
  if (result === 1) {
    throw new AppError("unsupported", "The host keeps saved memory of this VM, which can't be taken along.", {
      remedy: "Start it once and shut it down, or give the saved memory up (virsh managedsave-remove).",
    });
  }
  const flags =
    VIR_MIGRATE_OFFLINE |
    VIR_MIGRATE_PEER2PEER |
    VIR_MIGRATE_PERSIST_DEST |
    VIR_MIGRATE_UNDEFINE_SOURCE |
    VIR_MIGRATE_UNSAFE;
  const args = { dom, dconnuri: targetUri, params: {}, cookieIn: new Uint8Array(), flags };
  await remote.domainMigratePerform3Params(args, options);
}
