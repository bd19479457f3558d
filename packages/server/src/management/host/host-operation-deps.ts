/** What operations on hosts need besides what every operation is given. */
import type { OperationDeps } from "#management/operation/deps.ts";
import type { HostConnections } from "#management/reconcile/host-connection.ts";
import type { HostCredentials } from "#management/reconcile/host-credential.ts";
import type { HostReconciler } from "#management/reconcile/host-reconciler.ts";
import type { HostAddress } from "#hardware/port.ts";

export interface HostOperationDeps extends OperationDeps {
  readonly connections: HostConnections;
  readonly credentials: HostCredentials;
  readonly reconciler: HostReconciler;
  /** What a host's TLS is given where its request has nothing: Innkeeper's own authority and a client certificate of it. */
  readonly defaultTls: () => Promise<Required<NonNullable<HostAddress["tls"]>>>;
}
