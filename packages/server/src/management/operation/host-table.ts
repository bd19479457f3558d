/** The operations on hosts, storage, networks and images. */
import type { HostOperationDeps } from "#management/host/host-operation-deps.ts";
import type { Operation } from "#management/task/operation.ts";
import { hostAdd } from "./host-add.ts";
import { hostReconnect } from "./host-reconnect.ts";
import { hostRefresh } from "./host-refresh.ts";
import { hostRemove } from "./host-remove.ts";
import { imageDelete } from "./image-delete.ts";
import { networkDelete, networkStart, networkStop } from "./network-change.ts";
import { networkCreate } from "./network-create.ts";
import { poolCreate } from "./pool-create.ts";
import { poolDelete } from "./pool-delete.ts";
import { volumeCreate } from "./volume-create.ts";
import { volumeDelete } from "./volume-delete.ts";
import { volumeResize } from "./volume-resize.ts";

export function hostOperations(deps: HostOperationDeps): readonly Operation[] {
  return [
    hostAdd(deps),
    hostRemove(deps),
    hostReconnect(deps),
    hostRefresh(deps),
    poolCreate(deps),
    poolDelete(deps),
    volumeCreate(deps),
    volumeResize(deps),
    volumeDelete(deps),
    networkCreate(deps),
    networkStart(deps),
    networkStop(deps),
    networkDelete(deps),
    imageDelete(deps),
  ];
}
