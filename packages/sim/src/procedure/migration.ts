// Migration: one call that does it all peer to peer, or the five phases that a client leads (protocol version 3 with
// parameters; libvirt 9.0 src/libvirt-domain.c virDomainMigrateVersion3Full), and the job's figures.
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import {
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_INVALID_ARG,
  VIR_ERR_MIGRATE_FINISH_OK,
  VIR_ERR_NO_DOMAIN,
  VIR_ERR_OPERATION_INVALID,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import type { TypedParameterInput, TypedParameters } from "@innkeeper/libvirt/codec/typed-parameter.ts";
import { SimError } from "#error.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";
import type { Session } from "#rpc/session.ts";

const NONE = new Uint8Array();

function text(params: TypedParameters, name: string): string | undefined {
  const value = params[name];
  return typeof value === "string" ? value : undefined;
}

function jobStats(domain: SimDomain, flags: number): { type: number; params: TypedParameterInput } {
  if ((flags & lv.VIR_DOMAIN_JOB_STATS_COMPLETED) !== 0) {
    const { lastJob } = domain;
    if (lastJob === null) return { type: lv.VIR_DOMAIN_JOB_NONE, params: {} };
    if ((flags & lv.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED) === 0) domain.lastJob = null;
    return lastJob;
  }
  domain.requireActive();
  return domain.job?.stats() ?? { type: lv.VIR_DOMAIN_JOB_NONE, params: {} };
}

function jobInfo(domain: SimDomain): Record<(typeof JOB_FIELDS)[number][0], bigint> & { type: number } {
  const { type, params } = jobStats(domain, 0);
  const value = (name: string): bigint => {
    const found = params[name];
    return typeof found === "bigint" ? found : 0n;
  };
  const fields = Object.fromEntries(JOB_FIELDS.map(([field, name]) => [field, value(name)]));
  return { type, ...(fields as Record<(typeof JOB_FIELDS)[number][0], bigint>) };
}

const JOB_FIELDS = [
  ["timeElapsed", "time_elapsed"],
  ["timeRemaining", "time_remaining"],
  ["dataTotal", "data_total"],
  ["dataProcessed", "data_processed"],
  ["dataRemaining", "data_remaining"],
  ["memTotal", "memory_total"],
  ["memProcessed", "memory_processed"],
  ["memRemaining", "memory_remaining"],
  ["fileTotal", "disk_total"],
  ["fileProcessed", "disk_processed"],
  ["fileRemaining", "disk_remaining"],
] as const;

function requireJob(domain: SimDomain): NonNullable<SimDomain["job"]> {
  domain.requireActive();
  if (domain.job === null)
    throw new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, "no job is active on the domain");
  return domain.job;
}

async function perform(
  { domains, migrations }: SimHost,
  args: {
    dom: { uuid: string; name: string; id: number };
    dconnuri: string | null;
    params: TypedParameters;
    flags: number;
  },
  session: Session,
): Promise<{ cookieOut: Uint8Array }> {
  const domain = domains.require(args.dom);
  if ((args.flags & lv.VIR_MIGRATE_PEER2PEER) !== 0) {
    if (args.dconnuri === null) throw new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_QEMU, "no destination URI");
    await migrations.peerToPeer(domain, args.dconnuri, args);
    return { cookieOut: NONE };
  }
  const uri = text(args.params, lv.VIR_MIGRATE_PARAM_URI) ?? "";
  if ((args.flags & lv.VIR_MIGRATE_OFFLINE) === 0) {
    const { peer, port } = migrations.peers.memory(uri);
    using _way = peer;
    const forgetClient = session.onClose(() => migrations.loseClient(domain));
    await migrations.send(domain, peer, port, args).finally(forgetClient);
  }
  return { cookieOut: NONE };
}

export const migrationProcedures: Procedures = {
  remote: {
    domainMigrateBegin3Params: ({ domains, migrations }, { dom, params, flags }) => ({
      cookieOut: NONE,
      xml: migrations.begin(domains.require(dom), { params, flags }),
    }),
    domainMigratePrepare3Params: ({ name: hostName, incoming }, { params, flags }, session) => {
      const xml = text(params, lv.VIR_MIGRATE_PARAM_DEST_XML);
      if (xml === undefined) throw new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, "no domain XML passed");
      const name = text(params, lv.VIR_MIGRATE_PARAM_DEST_NAME);
      const isOffline = (flags & lv.VIR_MIGRATE_OFFLINE) !== 0;
      const named = params[lv.VIR_MIGRATE_PARAM_MIGRATE_DISKS];
      const copied = new Set(named === undefined ? [] : Array.isArray(named) ? named.map(String) : [String(named)]);
      const onClientLost = (run: () => void): (() => void) => session.onClose(run);
      const port = incoming.prepare(xml, { name, isOffline, copied, onClientLost });
      const uri = text(params, lv.VIR_MIGRATE_PARAM_URI) ?? `tcp:${hostName}`;
      return { cookieOut: NONE, uriOut: port === 0 || /:\d+$/u.test(uri) ? uri : `${uri}:${port}` };
    },
    domainMigratePerform3Params: perform,
    domainMigrateFinish3Params: ({ incoming }, { params, cancelled }) => {
      const name = text(params, lv.VIR_MIGRATE_PARAM_DEST_NAME) ?? "";
      if (cancelled !== 0) {
        if (!incoming.giveUp(name))
          throw new SimError(VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, `no domain with matching name '${name}'`);
        throw new SimError(VIR_ERR_MIGRATE_FINISH_OK, VIR_FROM_QEMU);
      }
      return { dom: incoming.finish(name).ref, cookieOut: NONE };
    },
    domainMigrateConfirm3Params: ({ domains, migrations }, { dom, params, flags, cancelled }) =>
      migrations.confirm(domains.require(dom), { params, flags }, cancelled !== 0),
    domainMigrateSetMaxDowntime: ({ domains, migrations }, { dom, downtime }) =>
      migrations.setMaxDowntime(domains.require(dom), Number(downtime)),
    domainMigrateGetMaxDowntime: ({ domains, migrations }, { dom }) => ({
      downtime: BigInt(migrations.maxDowntime(domains.require(dom))),
    }),
    domainMigrateSetMaxSpeed: ({ domains, migrations }, { dom, bandwidth }) =>
      migrations.setMaxSpeed(domains.require(dom), Number(bandwidth)),
    domainMigrateGetMaxSpeed: ({ domains, migrations }, { dom }) => ({
      bandwidth: BigInt(migrations.maxSpeed(domains.require(dom))),
    }),
    domainMigrateStartPostCopy: ({ domains }, { dom }) => {
      const domain = domains.require(dom);
      domain.requireActive();
      if (domain.job?.startPostCopy === undefined)
        throw new SimError(
          VIR_ERR_OPERATION_INVALID,
          VIR_FROM_QEMU,
          "post-copy can only be started while outgoing migration is in progress",
        );
      domain.job.startPostCopy();
    },
    domainGetJobInfo: ({ domains }, { dom }) => jobInfo(domains.require(dom)),
    domainGetJobStats: ({ domains }, { dom, flags }) => jobStats(domains.require(dom), flags),
    domainAbortJob: ({ domains }, { dom }) => requireJob(domains.require(dom)).abort(),
    domainAbortJobFlags: ({ domains }, { dom }) => requireJob(domains.require(dom)).abort(),
  },
};
