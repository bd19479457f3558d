// How a guest uses its memory: what it has touched grows from its start on; what the balloon took is the host's again.
import type { HostClock } from "#host/clock.ts";
import type { SimDomain } from "./sim-domain.ts";

export interface GuestMemory {
  /** Of QEMU's process on the host. */
  readonly residentKiB: number;
  /** What the balloon leaves to the guest. */
  readonly balloonKiB: number;
  /** What of that the guest's kernel has for programs, and what nobody uses. */
  readonly availableKiB: number;
  readonly unusedKiB: number;
  readonly usableKiB: number;
}

const EMULATOR_KIB = 40_960;

export function memoryOf(domain: SimDomain, clock: HostClock): GuestMemory {
  const { run } = domain;
  if (run === null) return { residentKiB: 0, balloonKiB: 0, availableKiB: 0, unusedKiB: 0, usableKiB: 0 };
  const { balloonKiB } = run;
  const part = domain.curve.memory(Math.max(0, (clock.steadyMs() - run.startedMs) / 1000));
  const touchedKiB = Math.floor(balloonKiB * part);
  const availableKiB = Math.floor(balloonKiB * 0.97);
  const unusedKiB = Math.max(0, availableKiB - touchedKiB);
  return {
    residentKiB: touchedKiB + EMULATOR_KIB,
    balloonKiB,
    availableKiB,
    unusedKiB,
    usableKiB: Math.min(availableKiB, unusedKiB + Math.floor(touchedKiB * 0.3)),
  };
}
