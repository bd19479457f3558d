/** Logical networks of one host, through libvirt (libvirt 9.0 include/libvirt/libvirt-network.h). */
import type { Connection } from "@innkeeper/libvirt";
import type { NetworkCreate } from "@innkeeper/contract/resource/network.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { isNotFound, mapLibvirtError } from "#libvirt/error.ts";
import { mapped, mergeEvents } from "#libvirt/event-merge.ts";
import { describeAll, orUndefined } from "#libvirt/lookup.ts";
import { type ConnectedCall, type LibvirtContext, longDeadlineMs, onConnection } from "#libvirt/session.ts";
import type { HostNetwork, HostNetworkState, NetworkEvent, NetworkRef } from "#network/port.ts";
import { checkNetwork, networkXml, readNetworkXml } from "./network-xml.ts";

type NetworkHandle = Awaited<ReturnType<Connection["remote"]["networkLookupByName"]>>["net"];

/** By virNetworkEventLifecycleType. */
const lifecycleTypes: readonly string[] = ["defined", "undefined", "started", "stopped"];

export class LibvirtNetwork implements HostNetwork {
  readonly #context: LibvirtContext;

  constructor(context: LibvirtContext) {
    this.#context = context;
  }

  list(call: Call): Promise<readonly HostNetworkState[]> {
    return onConnection(this.#context, call, "list networks", async (connected) => {
      const { connection, options } = connected;
      const { nets } = await connection.remote.connectListAllNetworks({ needResults: 1 }, options);
      return describeAll(nets, (network) => describe(connected, network));
    });
  }

  check(network: Omit<NetworkCreate, "host">): void {
    checkNetwork(network);
  }

  async create(network: Omit<NetworkCreate, "host"> & NetworkRef, call: Call): Promise<HostNetworkState> {
    const definition = networkXml(network);
    return onConnection(
      this.#context,
      call,
      `create network ${network.name}`,
      async (connected) => {
        const { connection, options } = connected;
        const net = await this.#define(connected, network, definition);
        try {
          const { active } = await connection.remote.networkIsActive({ net }, options);
          if (active !== 1) await connection.remote.networkCreate({ net }, options);
          const autostart = network.autostart === false ? 0 : 1;
          await connection.remote.networkSetAutostart({ net, autostart }, options);
          return await describe(connected, net);
        } catch (error) {
          await this.delete(network, { signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
          throw error;
        }
      },
      longDeadlineMs,
    );
  }

  start(network: NetworkRef, call: Call): Promise<void> {
    return this.#withNetwork(network, "start", call, async ({ connection, options }, net, isActive) => {
      if (!isActive) await connection.remote.networkCreate({ net }, options);
    });
  }

  stop(network: NetworkRef, call: Call): Promise<void> {
    return this.#withNetwork(network, "stop", call, async ({ connection, options }, net, isActive) => {
      if (isActive) await connection.remote.networkDestroy({ net }, options);
    });
  }

  async delete(network: NetworkRef, call: Call): Promise<void> {
    try {
      await this.#withNetwork(network, "delete", call, async ({ connection, options }, net, isActive) => {
        if (isActive) await connection.remote.networkDestroy({ net }, options);
        await connection.remote.networkUndefine({ net }, options);
      });
    } catch (error) {
      // A transient network is gone with its end.
      if (!isNotFound(error)) throw error;
    }
  }

  async *events(signal: AbortSignal): AsyncGenerator<NetworkEvent, void> {
    try {
      const { events } = await this.#context.session.connection({ signal });
      yield* mergeEvents<NetworkEvent>([
        mapped(events.network("lifecycle", { signal }), ({ net, event }) => ({
          networkName: net.name,
          type: lifecycleTypes[event] ?? "changed",
        })),
      ]);
    } catch (error) {
      if (signal.aborted) return;
      throw mapLibvirtError(error, { what: "watch networks" });
    }
  }

  #withNetwork(
    { name, uuid }: NetworkRef,
    verb: string,
    call: Call,
    work: (connected: ConnectedCall, network: NetworkHandle, isActive: boolean) => Promise<void>,
  ): Promise<void> {
    return onConnection(
      this.#context,
      call,
      `${verb} network ${name}`,
      async (connected) => {
        const { connection, options } = connected;
        const { net } = await connection.remote.networkLookupByUuid({ uuid }, options);
        const { active } = await connection.remote.networkIsActive({ net }, options);
        await work(connected, net, active === 1);
      },
      longDeadlineMs,
    );
  }

  /** Takes up a definition that an interrupted attempt left; anything else of that name is refused. */
  async #define(connected: ConnectedCall, { name, uuid }: NetworkRef, definition: string): Promise<NetworkHandle> {
    const { connection, options } = connected;
    const existing = (await orUndefined(connection.remote.networkLookupByName({ name }, options)))?.net;
    if (existing === undefined) return (await connection.remote.networkDefineXml({ xml: definition }, options)).net;
    if (existing.uuid === uuid) return existing;
    const { forwardMode } = await describe(connected, existing);
    throw new AppError("name_taken", `The host has a network ${name} already (${forwardMode}).`, { field: "name" });
  }
}

async function describe({ connection, options }: ConnectedCall, net: NetworkHandle): Promise<HostNetworkState> {
  const [{ xml }, { active }, autostart] = await Promise.all([
    connection.remote.networkGetXmlDesc({ net }, options),
    connection.remote.networkIsActive({ net }, options),
    // A transient network has none: libvirt answers with an error.
    connection.remote.networkGetAutostart({ net }, options).catch(() => ({ autostart: 0 })),
  ]);
  return {
    name: net.name,
    uuid: net.uuid,
    active: active === 1,
    autostart: autostart.autostart === 1,
    ...readNetworkXml(xml),
  };
}
