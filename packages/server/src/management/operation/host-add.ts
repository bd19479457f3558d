/**
 * Adds a host: it is reached, looked at and tested before anything is stored; then it is stored with its credentials
 * (encrypted), managed, and read once, so that its VMs are there when the task ends. Nothing on the host is changed.
 */
import { Type } from "typebox";
import { type Host, HostAdd, type HostHardware } from "@innkeeper/contract/resource/host.ts";
import { AppError } from "#core/app-error.ts";
import { timestamp } from "#core/clock.ts";
import { clusterOf } from "#management/cluster/cluster-lookup.ts";
import { forgetHost } from "#management/host/forget-host.ts";
import { freeHostName, hostAddress } from "#management/host/host-address.ts";
import type { HostOperationDeps } from "#management/host/host-operation-deps.ts";
import { stableId } from "#management/inventory/stable-id.ts";
import { requireUniqueName } from "#management/inventory/unique-name.ts";
import { operation, type StepContext } from "#management/task/operation.ts";

const connectDeadlineMs = 20_000;
const inspectDeadlineMs = 180_000;

type Input = { request: HostAdd };
interface Inspected {
  readonly hostId: Host["id"];
  readonly name: string;
  readonly hardware: HostHardware;
}

export function hostAdd(deps: HostOperationDeps) {
  const { inventory, connections } = deps;
  return operation({
    name: "host.add",
    input: Type.Object({ request: HostAdd }),
    async check({ request }) {
      if (request.name !== undefined) requireUniqueName(inventory, "host", request.name);
      clusterOf(inventory, request.cluster);
      connections.checkAddress(await hostAddress(request, deps.defaultTls));
      const known = inventory.list("host").find((host) => host.uri === request.uri);
      if (known !== undefined) {
        throw new AppError("conflict", `Host ${known.name} has this URI already.`, { field: "uri" });
      }
    },
    claims: ({ request }) => ({
      exclusive: [`host-uri:${request.uri}`, ...(request.name === undefined ? [] : [`host-name:${request.name}`])],
    }),
    target: () => undefined,
    steps: [
      { name: "inspect", do: async (context) => ({ ...(await inspect(deps, context)) }) },
      {
        name: "record",
        async do(context) {
          await record(deps, context);
        },
        async undo(context) {
          const inspected = context.resultIfAny<Inspected>("inspect");
          if (inspected !== undefined) await forgetHost(deps, inspected.hostId);
        },
      },
      {
        name: "connect",
        async do({ result, signal }) {
          const { hostId } = result<Inspected>("inspect");
          const host = inventory.require("host", hostId);
          connections.attach(hostId, await deps.credentials.address(deps.store, host));
          const call = { signal: AbortSignal.any([signal, AbortSignal.timeout(connectDeadlineMs)]) };
          await connections.ready(hostId, call);
        },
        async undo({ resultIfAny }) {
          const inspected = resultIfAny<Inspected>("inspect");
          if (inspected !== undefined) await connections.detach(inspected.hostId);
        },
      },
      {
        name: "adopt",
        async do({ result, signal }) {
          await deps.hostSync.syncHost(result<Inspected>("inspect").hostId, { signal });
        },
      },
    ],
    outcome({ result }) {
      const { hostId, name } = result<Inspected>("inspect");
      return { hostId, name, vmCount: inventory.byHost("vm", hostId).length };
    },
  });
}

async function inspect(deps: HostOperationDeps, context: StepContext<Input>): Promise<Inspected> {
  const { request } = context.input;
  await using provider = deps.connections.open(request.uri, await hostAddress(request, deps.defaultTls));
  context.progress({ done: 0, total: 3, unit: "step" }, `connecting to ${request.uri}`);
  await provider.link.ready({ signal: AbortSignal.any([context.signal, AbortSignal.timeout(connectDeadlineMs)]) });
  const call = { signal: AbortSignal.any([context.signal, AbortSignal.timeout(inspectDeadlineMs)]) };
  context.progress({ done: 1, total: 3, unit: "step" }, "reading its hardware");
  const hardware = await provider.link.hardware(call);
  refuseKnown(deps, hardware);
  context.progress({ done: 2, total: 3, unit: "step" }, "testing whether KVM runs a guest");
  const kvm = await provider.link.testKvm(call);
  const name = request.name ?? freeHostName(deps.inventory, hardware.hostname, request.uri);
  return { hostId: stableId(deps.inventory, "host", hardware.uuid), name, hardware: { ...hardware, kvm } };
}

async function record(deps: HostOperationDeps, { input, result }: StepContext<Input>): Promise<void> {
  const { hostId, name, hardware } = result<Inspected>("inspect");
  const { request } = input;
  const address = await hostAddress(request, deps.defaultTls);
  await deps.store.transaction(async (transaction) => {
    if ((await transaction.get("host", hostId)) !== undefined) return;
    // Others may have been added while this one was looked at: transactions are serialized.
    refuseKnown(deps, hardware);
    requireUniqueName(deps.inventory, "host", name);
    const clusterId = clusterOf(deps.inventory, request.cluster);
    await deps.credentials.put(transaction, hostId, address);
    await transaction.put("host", {
      id: hostId,
      name,
      uri: request.uri,
      description: request.description ?? "",
      tags: request.tags ?? [],
      ...(clusterId === undefined ? {} : { clusterId }),
      maintenance: false,
      connectionState: "connecting",
      connectionDetail: "",
      addedAt: timestamp(deps.clock),
      hardware,
    });
  });
}

/** One libvirt daemon under two URIs would show, and change, every VM twice. */
function refuseKnown({ inventory }: HostOperationDeps, hardware: HostHardware): void {
  const known = inventory.list("host").find((host) => host.hardware?.uuid === hardware.uuid);
  if (known === undefined) return;
  throw new AppError(
    "conflict",
    `This is host ${known.name} (${known.uri}), which is managed already: its libvirt has the same host UUID ${hardware.uuid}. Nothing was changed.`,
    {
      field: "uri",
      remedy: "If these are two machines that were cloned, set host_uuid in /etc/libvirt/libvirtd.conf on one of them.",
    },
  );
}
