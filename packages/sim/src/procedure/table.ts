// All procedures that simulated hosts know, noun by noun; one table for all hosts.
import { DispatchTable } from "#rpc/dispatch.ts";
import { connectionProcedures } from "./connection.ts";
import { eventProcedures } from "./event.ts";
import { networkProcedures } from "./network.ts";
import { storagePoolProcedures } from "./storage-pool.ts";
import { storageVolumeProcedures } from "./storage-volume.ts";

export const procedureTable = new DispatchTable([
  connectionProcedures,
  eventProcedures,
  networkProcedures,
  storagePoolProcedures,
  storageVolumeProcedures,
]);
