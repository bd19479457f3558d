/** Memory changes of a running guest: the balloon and the host's limit. Size, pages and cells wait for the next start. */
import { VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_MEMORY_PARAM_UNLIMITED } from "@innkeeper/libvirt";
import type { GuestChange } from "#virtualization/port.ts";
import { elementKiB } from "../domain-xml/scaled.ts";
import { child } from "../domain-xml/element.ts";
import type { LiveGuest, LiveStep } from "./live-step.ts";

export function memorySteps(guest: LiveGuest, memory: NonNullable<GuestChange["memory"]>): LiveStep[] {
  return [...balloonSteps(guest, memory.balloonMiB), ...limitSteps(guest, memory.limitMiB)];
}

function balloonSteps({ remote, dom, options, root }: LiveGuest, balloonMiB: number | undefined): LiveStep[] {
  const maxKiB = elementKiB(child(root, "memory")) ?? 0;
  const beforeKiB = elementKiB(child(root, "currentMemory")) ?? maxKiB;
  if (balloonMiB === undefined) return [];
  // A target of the whole size is exactly the size, also where that is no whole number of MiB.
  const targetKiB = Math.ceil(maxKiB / 1024) === balloonMiB ? maxKiB : balloonMiB * 1024;
  if (targetKiB > maxKiB || targetKiB === beforeKiB) return [];
  const set = (kiB: number) =>
    remote.domainSetMemoryFlags({ dom, memory: BigInt(kiB), flags: VIR_DOMAIN_AFFECT_LIVE }, options);
  return [{ what: `a balloon target of ${balloonMiB} MiB`, run: () => set(targetKiB), undo: () => set(beforeKiB) }];
}

function limitSteps({ remote, dom, options, spec }: LiveGuest, limitMiB: number | undefined): LiveStep[] {
  if (limitMiB === undefined) return [];
  const set = (mebibytes: number) => {
    const kiB = mebibytes === 0 ? BigInt(VIR_DOMAIN_MEMORY_PARAM_UNLIMITED) : BigInt(mebibytes) * 1024n;
    return remote.domainSetMemoryParameters(
      { dom, params: { hard_limit: kiB }, flags: VIR_DOMAIN_AFFECT_LIVE },
      options,
    );
  };
  return [{ what: "the memory limit", run: () => set(limitMiB), undo: () => set(spec.memory.limitMiB ?? 0) }];
}
