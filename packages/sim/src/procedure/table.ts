// All procedures that simulated hosts know, noun by noun; one table for all hosts.
import { DispatchTable } from "#rpc/dispatch.ts";
import { agentProcedures } from "./agent.ts";
import { blockJobProcedures } from "./block-job.ts";
import { connectionProcedures } from "./connection.ts";
import { domainChangeProcedures } from "./domain-change.ts";
import { domainLifeProcedures } from "./domain-life.ts";
import { domainListProcedures } from "./domain-list.ts";
import { domainStatsProcedures } from "./domain-stats.ts";
import { eventProcedures } from "./event.ts";
import { migrationProcedures } from "./migration.ts";
import { networkProcedures } from "./network.ts";
import { nodeProcedures } from "./node.ts";
import { snapshotProcedures } from "./snapshot.ts";
import { storagePoolProcedures } from "./storage-pool.ts";
import { storageVolumeProcedures } from "./storage-volume.ts";

export const procedureTable = new DispatchTable([
  agentProcedures,
  blockJobProcedures,
  connectionProcedures,
  nodeProcedures,
  domainListProcedures,
  domainLifeProcedures,
  domainChangeProcedures,
  domainStatsProcedures,
  migrationProcedures,
  eventProcedures,
  networkProcedures,
  snapshotProcedures,
  storagePoolProcedures,
  storageVolumeProcedures,
]);
