/** One managed host as management sees it: the four layers' ports together. Made by app/wire.ts from a host's address. */
import type { HostAddress, HostLink } from "#hardware/port.ts";
import type { HostNetwork } from "#network/port.ts";
import type { HostStorage } from "#storage/port.ts";
import type { GuestHypervisor } from "#virtualization/port.ts";

export interface Provider extends AsyncDisposable {
  readonly link: HostLink;
  readonly guest: GuestHypervisor;
  readonly storage: HostStorage;
  readonly network: HostNetwork;
}

/** Opens a provider; it connects in the background (`provider.link.ready` waits). */
export type ProviderFactory = (hostId: string, address: HostAddress) => Provider;
