/** The only file that names concrete drivers: makes the provider of a host, and joins management's parts. */
import path from "node:path";
import { CertificateAuthority } from "#core/certificate-authority.ts";
import { checkHostUri, type UriPolicy } from "#hardware/driver/libvirt/host-uri.ts";
import { LibvirtHostLink } from "#hardware/driver/libvirt/host-link.ts";
import { ReconnectPace } from "#hardware/driver/libvirt/reconnect-pace.ts";
import type { HostAddress } from "#hardware/port.ts";
import type { LibvirtContext } from "#libvirt/session.ts";
import { ClusterService } from "#management/cluster/cluster-service.ts";
import { HostService } from "#management/host/host-service.ts";
import { ImageService } from "#management/image/image-service.ts";
import { MetricPoll } from "#management/metric/metric-poll.ts";
import { MetricService } from "#management/metric/metric-service.ts";
import { RecentSamples } from "#management/metric/recent-samples.ts";
import { RollUp } from "#management/metric/roll-up.ts";
import { operations } from "#management/operation/table.ts";
import { PoolService } from "#management/pool/pool-service.ts";
import type { Provider, ProviderFactory } from "#management/provider.ts";
import { ProviderTable } from "#management/providers.ts";
import { HostConnections } from "#management/reconcile/host-connection.ts";
import { HostCredentials } from "#management/reconcile/host-credential.ts";
import { HostReconciler } from "#management/reconcile/host-reconciler.ts";
import { JoinedWrites } from "#management/reconcile/joined-write.ts";
import { cleanLeftovers } from "#management/vm/migration-leftover.ts";
import { VmService } from "#management/vm/vm-service.ts";
import { VolumeService } from "#management/volume/volume-service.ts";
import { LibvirtNetwork } from "#network/driver/libvirt/libvirt-network.ts";
import { libvirtStorage } from "#storage/driver/libvirt/libvirt-storage.ts";
import { createLibvirtHypervisor } from "#virtualization/driver/libvirt/hypervisor.ts";
import type { ServerConfig } from "./config.ts";
import type { WireBase, Wiring } from "./wiring.ts";

/** What can't be removed within this time is tried again at the next connect. */
const leftoverMs = 5 * 60_000;

export function wire(base: WireBase): Wiring {
  const { config, store, inventory, secretBox, claims, clock, log } = base;
  const providers = new ProviderTable((hostId) => inventory.get("host", hostId)?.name);
  const credentials = new HostCredentials(secretBox);
  const writes = new JoinedWrites(store, clock);
  const reconciler = new HostReconciler({ store, writes, inventory, providers, clock, log });
  const recent = new RecentSamples();
  const metrics = new MetricPoll({ inventory, providers, recent, clock });
  const rollUp = new RollUp({ store, recent, clock, log });
  const common = { store, writes, inventory, claims, providers, clock, log, credentials, reconciler, metrics };
  const policy = uriPolicy(config);
  const image = new ImageService({ ...common, hostSync: reconciler });
  const connections = new HostConnections({
    ...common,
    onConnected: (hostId) => {
      image.cleanUp(hostId).catch((error: unknown) => {
        log.warn({ err: error, hostId }, "leftovers of interrupted uploads could not be removed");
      });
      cleanLeftovers(deps, { signal: AbortSignal.timeout(leftoverMs) }).catch((error: unknown) => {
        log.warn({ err: error, hostId }, "leftovers of interrupted migrations could not be removed");
      });
    },
    providerFactory: providerFactory(base),
    checkAddress: ({ uri }) => void checkHostUri(uri, policy),
  });
  const deps = { ...common, hostSync: reconciler, connections, defaultTls: clientTls(config.stateFolder) };
  return {
    operations: operations(deps),
    vm: new VmService(deps),
    cluster: new ClusterService(deps),
    host: new HostService(deps),
    pool: new PoolService(deps),
    volume: new VolumeService(deps),
    image,
    providers,
    hostSync: reconciler,
    metric: new MetricService({ store, inventory, recent, clock }),
    recent,
    start: async () => {
      await connections.start();
      rollUp.start();
    },
    [Symbol.asyncDispose]: async () => {
      await rollUp[Symbol.asyncDispose]();
      await connections[Symbol.asyncDispose]();
      metrics[Symbol.dispose]();
    },
  };
}

function uriPolicy({ allowPlainTcp, store }: ServerConfig): UriPolicy {
  return { allowPlainTcp, isShared: store !== undefined };
}

function providerFactory({ config, secretBox, clock, log }: WireBase): ProviderFactory {
  const pace = new ReconnectPace(clock);
  const poolOwner = secretBox.fingerprint("owner", "pool").slice(0, 8);
  return (hostId, address): Provider => {
    const hostLog = log.child({ hostId });
    const link = new LibvirtHostLink(address, { clock, log: hostLog, pace, poolOwner, ...uriPolicy(config) });
    const context: LibvirtContext = { session: link, log: hostLog, clock };
    return {
      link,
      guest: createLibvirtHypervisor({ ...context, uri: address.uri }),
      storage: libvirtStorage(context),
      network: new LibvirtNetwork(context),
      [Symbol.asyncDispose]: () => link[Symbol.asyncDispose](),
    };
  };
}

/** A client certificate of the built-in authority, made when a host first needs one. */
export function clientTls(stateFolder: string): () => Promise<Required<NonNullable<HostAddress["tls"]>>> {
  let made: Promise<Required<NonNullable<HostAddress["tls"]>>> | undefined;
  const make = async (): Promise<Required<NonNullable<HostAddress["tls"]>>> => {
    const authority = await CertificateAuthority.open(path.join(stateFolder, "ca"));
    const { certificatePem, keyPem } = authority.issue({ commonName: "innkeeper", purposes: ["client"] });
    return { caCertificate: authority.certificatePem, clientCertificate: certificatePem, clientKey: keyPem };
  };
  return () => (made ??= make());
}
