/** The operations on VMs and snapshots. */
import type { Operation } from "#management/task/operation.ts";
import type { OperationDeps } from "./deps.ts";
import { vmCreate } from "./vm-create.ts";
import { vmForceOff } from "./vm-force-off.ts";
import { vmReboot } from "./vm-reboot.ts";
import { vmReset } from "./vm-reset.ts";
import { vmResume } from "./vm-resume.ts";
import { vmShutdown } from "./vm-shutdown.ts";
import { vmStart } from "./vm-start.ts";
import { vmSuspend } from "./vm-suspend.ts";

export function vmOperations(deps: OperationDeps): readonly Operation[] {
  return [
    vmCreate(deps),
    vmStart(deps),
    vmShutdown(deps),
    vmForceOff(deps),
    vmReboot(deps),
    vmReset(deps),
    vmSuspend(deps),
    vmResume(deps),
  ];
}
