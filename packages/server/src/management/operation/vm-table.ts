/** The operations on VMs and snapshots. */
import type { Operation } from "#management/task/operation.ts";
import type { OperationDeps } from "./deps.ts";
import { snapshotCreate } from "./snapshot-create.ts";
import { snapshotDelete } from "./snapshot-delete.ts";
import { snapshotRevert } from "./snapshot-revert.ts";
import { vmChange } from "./vm-change.ts";
import { vmClone } from "./vm-clone.ts";
import { vmCreate } from "./vm-create.ts";
import { vmDelete } from "./vm-delete.ts";
import { vmEdit } from "./vm-edit.ts";
import { vmForceOff } from "./vm-force-off.ts";
import { vmMigrate } from "./vm-migrate.ts";
import { vmReboot } from "./vm-reboot.ts";
import { vmRename } from "./vm-rename.ts";
import { vmReset } from "./vm-reset.ts";
import { vmResume } from "./vm-resume.ts";
import { vmShutdown } from "./vm-shutdown.ts";
import { vmStart } from "./vm-start.ts";
import { vmSuspend } from "./vm-suspend.ts";

export function vmOperations(deps: OperationDeps): readonly Operation[] {
  return [
    vmCreate(deps),
    vmChange(deps),
    vmEdit(deps),
    vmRename(deps),
    vmDelete(deps),
    vmStart(deps),
    vmShutdown(deps),
    vmForceOff(deps),
    vmReboot(deps),
    vmReset(deps),
    vmSuspend(deps),
    vmResume(deps),
    vmClone(deps),
    vmMigrate(deps),
    snapshotCreate(deps),
    snapshotRevert(deps),
    snapshotDelete(deps),
  ];
}
