/**
 * Hardware: physical hosts. A HostLink keeps one host connected (with back-off) and tells what the machine is and has.
 * Invariant: a link never gives up by itself and never throws from the background; its status says why it is down.
 */
import type { HostConnectionState, HostHardware, HostUsage } from "@innkeeper/contract/resource/host.ts";
import type { Call } from "#core/call.ts";

/** How to reach a host. Secrets are in memory only; the store has them encrypted. */
export interface HostAddress {
  readonly uri: string;
  readonly tls?: { readonly caCertificate: string; readonly clientCertificate?: string; readonly clientKey?: string };
  readonly ssh?: { readonly privateKey?: string; readonly password?: string; readonly hostKeyFingerprint?: string };
  /** For a libvirtd that asks for a name and a password; the name is the URI's unless told. */
  readonly sasl?: { readonly userName?: string; readonly password: string };
}

export interface HostLinkStatus {
  readonly state: HostConnectionState;
  /** Why, in the user's words; empty when connected. */
  readonly detail: string;
}

/** AppErrors: host_unreachable, host_untrusted, host_refused, timeout. */
export interface HostLink extends AsyncDisposable {
  readonly status: HostLinkStatus;
  /** Every change of status, from now on. Ends when the link is closed. */
  statusChanges(signal: AbortSignal): AsyncIterable<HostLinkStatus>;
  /** Resolves when connected; rejects with the reason of the first failure, without waiting for the back-off. */
  ready(call: Call): Promise<void>;
  hardware(call: Call): Promise<HostHardware>;
  usage(call: Call): Promise<HostUsage>;
  /** Runs a tiny guest to its end under KVM, with a deadline: whether KVM really works. Leaves nothing behind. */
  testKvm(call: Call): Promise<HostHardware["kvm"]>;
}
