/** What a host is, has and bears → its document. The result of the KVM test is kept until the next test. */
import type { Host, HostHardware, HostUsage } from "@innkeeper/contract/resource/host.ts";
import type { Call } from "#core/call.ts";
import type { ReconcileDeps } from "./reconcile-deps.ts";

/** Below these differences the load is what it was: an idle fleet writes nothing. */
const memoryStepMiB = 64;
const loadStepPct = 2;
const usageMaxAgeMs = 5 * 60_000;

export class HardwareSync {
  readonly #deps: ReconcileDeps;

  constructor(deps: ReconcileDeps) {
    this.#deps = deps;
  }

  async syncHardware(hostId: string, call: Call): Promise<void> {
    const hardware = await this.#deps.providers.get(hostId).link.hardware(call);
    await this.#update(hostId, (host) => ({ ...host, hardware: keepKvmTest(hardware, host.hardware) }));
  }

  async syncUsage(hostId: string, call: Call): Promise<void> {
    const usage = await this.#deps.providers.get(hostId).link.usage(call);
    const before = this.#deps.inventory.get("host", hostId)?.usage;
    if (before !== undefined && !isWorthWriting(before, usage)) return;
    await this.#update(hostId, (host) => ({ ...host, usage }));
  }

  async storeKvm(hostId: string, kvm: HostHardware["kvm"]): Promise<void> {
    await this.#update(hostId, (host) =>
      host.hardware === undefined ? host : { ...host, hardware: { ...host.hardware, kvm } },
    );
  }

  async #update(hostId: string, change: (host: Host) => Host): Promise<void> {
    await this.#deps.writes.run(async (transaction) => {
      const host = await transaction.get("host", hostId);
      if (host !== undefined) await transaction.put("host", change(host));
    });
  }
}

function keepKvmTest(hardware: HostHardware, before: HostHardware | undefined): HostHardware {
  const isTested = before !== undefined && before.kvm.usable !== null;
  const isSameOffer = before?.kvm.advertised === hardware.kvm.advertised;
  return isTested && isSameOffer && hardware.kvm.usable === null ? { ...hardware, kvm: before.kvm } : hardware;
}

function isWorthWriting(before: HostUsage, now: HostUsage): boolean {
  return (
    Math.abs(now.memoryFreeMiB - before.memoryFreeMiB) >= memoryStepMiB ||
    Math.abs(now.cpuLoadPct - before.cpuLoadPct) >= loadStepPct ||
    Date.parse(now.sampledAt) - Date.parse(before.sampledAt) >= usageMaxAgeMs
  );
}
