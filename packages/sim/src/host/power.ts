// A machine loses its power and gets it back: what ran is gone without a word, what was defined is there again.
import { VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_UNKNOWN } from "@innkeeper/libvirt/generated/domain-constant.ts";
import { BOOTED, start } from "./domain/lifecycle.ts";
import type { SimHost } from "./sim-host.ts";

export function powerOff(host: SimHost): void {
  host.faults.isOff = true;
  for (const domain of host.domains.all) {
    domain.setState(VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_UNKNOWN);
    domain.run = null;
    domain.job = null;
    domain.id = -1;
    domain.resetCounters();
    if (!domain.isPersistent) host.domains.remove(domain);
  }
  host.domains.retiredVcpuSeconds = 0;
  host.pools.powerOff();
  host.networks.powerOff();
}

export async function powerOn(host: SimHost): Promise<void> {
  if (!host.faults.isOff) return;
  host.node.bootedMs = host.clock.steadyMs();
  host.faults.isOff = false;
  host.pools.autostart();
  host.networks.autostart();
  const wanted = [...host.domains.all].filter(({ autostart, isActive }) => autostart && !isActive);
  await Promise.allSettled(wanted.map((domain) => start(host.domains, domain, BOOTED)));
}
