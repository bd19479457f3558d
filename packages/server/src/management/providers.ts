/**
 * The providers of all managed hosts, by host id. Invariant: what `get` returns was connected at that moment; a host that
 * is known but not connected gives the reason of its link.
 */
import { AppError } from "#core/app-error.ts";
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import type { HostConnectionState } from "@innkeeper/contract/resource/host.ts";
import type { Provider } from "./provider.ts";

export interface Providers {
  /** The provider of a connected host. AppErrors: not_found, host_unreachable, host_untrusted, host_refused. */
  get(hostId: string): Provider;
  /** The provider of a known host, connected or not. */
  find(hostId: string): Provider | undefined;
  /** Ids of the hosts that are connected now. */
  connectedHostIds(): string[];
}

const codeByState: Readonly<Record<HostConnectionState, ErrorCode>> = {
  connecting: "host_unreachable",
  connected: "host_unreachable",
  unreachable: "host_unreachable",
  untrusted: "host_untrusted",
  refused: "host_refused",
};

export class ProviderTable implements Providers {
  readonly #providers = new Map<string, Provider>();
  readonly #nameOf: (hostId: string) => string | undefined;

  /** `nameOf`: by what name people know the host. */
  constructor(nameOf: (hostId: string) => string | undefined) {
    this.#nameOf = nameOf;
  }

  get(hostId: string): Provider {
    const provider = this.#providers.get(hostId);
    if (provider === undefined) throw new AppError("not_found", `There is no host ${hostId}.`);
    const { state, detail } = provider.link.status;
    if (state === "connected") return provider;
    throw new AppError(
      codeByState[state],
      `Host ${this.#nameOf(hostId) ?? hostId} is not connected (${state})${detail === "" ? "" : `: ${detail.replace(/\.$/, "")}`}.`,
    );
  }

  find(hostId: string): Provider | undefined {
    return this.#providers.get(hostId);
  }

  connectedHostIds(): string[] {
    return [...this.#providers].filter(([, provider]) => provider.link.status.state === "connected").map(([id]) => id);
  }

  /** conflict if this host has one already. */
  add(hostId: string, provider: Provider): void {
    if (this.#providers.has(hostId)) throw new AppError("conflict", `Host ${hostId} is managed already.`);
    this.#providers.set(hostId, provider);
  }

  /** Takes it out; the caller disposes of it. */
  remove(hostId: string): Provider | undefined {
    const provider = this.#providers.get(hostId);
    this.#providers.delete(hostId);
    return provider;
  }
}
