/**
 * Connects to a host anew, also with other credentials or by another URI. Invariant: what is stored is replaced only by
 * what has just reached the same host; until then, and after a failure, the host is managed as before.
 */
import { Type } from "typebox";
import { HostReconnect } from "@innkeeper/contract/resource/host.ts";
import type { HostAddress } from "#hardware/port.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { hostAddress } from "#management/host/host-address.ts";
import type { HostOperationDeps } from "#management/host/host-operation-deps.ts";
import { operation } from "#management/task/operation.ts";
import { hostClaim } from "#management/task/resource-claim.ts";
import { hostTarget } from "./host-refresh.ts";

const connectDeadlineMs = 20_000;

type Input = { hostId: string; request?: HostReconnect | undefined };

export function hostReconnect(deps: HostOperationDeps) {
  const { inventory, connections, credentials, store } = deps;
  return operation({
    name: "host.reconnect",
    input: Type.Object({ hostId: Type.String(), request: Type.Optional(HostReconnect) }),
    async check(input) {
      const host = inventory.require("host", input.hostId, { field: "hostId" });
      const address = await newAddress(deps, input);
      connections.checkAddress(address);
      const other = inventory.list("host").find((each) => each.uri === address.uri && each.id !== host.id);
      if (other === undefined) return;
      throw new AppError("conflict", `Host ${other.name} has this URI already.`, { field: "uri" });
    },
    // What works on the host is waited for: its connection ends.
    claims: (input) => ({
      exclusive: [
        hostClaim(inventory.require("host", input.hostId).id),
        ...(input.request?.uri === undefined ? [] : [`host-uri:${input.request.uri}`]),
      ],
    }),
    target: ({ hostId }) => hostTarget(inventory, hostId),
    steps: [
      { name: "verify", do: ({ input, signal }) => verify(deps, input, { signal }) },
      {
        name: "record",
        pointOfNoReturn: true,
        async do({ input }) {
          const { id } = inventory.require("host", input.hostId);
          const address = await newAddress(deps, input);
          await store.transaction(async (transaction) => {
            const host = await transaction.get("host", id);
            if (host === undefined) throw new AppError("not_found", "The host was removed meanwhile.");
            await credentials.put(transaction, id, address);
            if (host.uri !== address.uri) await transaction.put("host", { ...host, uri: address.uri });
          });
        },
      },
      {
        name: "connect",
        async do({ input, signal }) {
          const host = inventory.require("host", input.hostId);
          await connections.detach(host.id);
          connections.attach(host.id, await credentials.address(store, host));
          const call = { signal: AbortSignal.any([signal, AbortSignal.timeout(connectDeadlineMs)]) };
          await connections.ready(host.id, call);
        },
      },
    ],
    outcome: ({ input }) => ({ hostId: inventory.require("host", input.hostId).id }),
  });
}

/** Reached, and the very host: another machine behind the URI would be shown with this one's VMs. */
async function verify(deps: HostOperationDeps, input: Input, { signal }: Call): Promise<void> {
  const host = deps.inventory.require("host", input.hostId);
  await using provider = deps.connections.open(host.id, await newAddress(deps, input));
  const call = { signal: AbortSignal.any([signal, AbortSignal.timeout(connectDeadlineMs)]) };
  await provider.link.ready(call);
  const { uuid } = await provider.link.hardware(call);
  if (host.hardware === undefined || host.hardware.uuid === uuid) return;
  const message = `This is another machine than host ${host.name}: its libvirt has the host UUID ${uuid}, not ${host.hardware.uuid}. Nothing was changed.`;
  throw new AppError("conflict", message, {
    field: "uri",
    remedy: "Add it as a host of its own, or remove this one first if it took its place.",
  });
}

/** What is stored with what is given. */
async function newAddress(deps: HostOperationDeps, { hostId, request }: Input): Promise<HostAddress> {
  const host = deps.inventory.require("host", hostId, { field: "hostId" });
  const stored = await deps.credentials.address(deps.store, host);
  const { uri = stored.uri, tls = stored.tls, sasl = stored.sasl, ssh = stored.ssh } = request ?? {};
  const given = { ...(tls && { tls }), ...(sasl && { sasl }), ...(ssh && { ssh }) };
  return await hostAddress({ uri, ...given }, deps.defaultTls);
}
