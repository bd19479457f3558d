/**
 * A host whose storage is of block devices, which all look written from their first moment, and what a task has kept: a
 * crash is an error in the middle, and another call with the same `context`.
 */
import { AppError } from "#core/app-error.ts";
import { systemClock } from "#core/system-clock.ts";
import type { Providers } from "#management/providers.ts";
import type { StepContext } from "#management/task/operation.ts";
import type { VolumeDefinition } from "#storage/port.ts";

const extentBytes = 4 << 20;

export function blockStorage() {
  /** Capacities by name. */
  const devices = new Map<string, number>();
  /** Set, the server is killed before this one is made. */
  const killed: { before?: string } = {};
  const volume = {
    async createVolume({ name, capacityBytes }: VolumeDefinition) {
      if (devices.has(name)) throw new AppError("name_taken", `there is a volume ${name}`);
      if (killed.before === name) throw new Error("killed");
      devices.set(name, Math.ceil(capacityBytes / extentBytes) * extentBytes);
      return volume.findVolume("vg", name);
    },
    async findVolume(poolName: string, name: string) {
      const bytes = devices.get(name);
      const sizes = { capacityBytes: bytes, allocationBytes: bytes };
      return bytes === undefined ? undefined : { poolName, name, path: `/dev/vg/${name}`, format: "raw", ...sizes };
    },
    deleteVolume: async (_poolName: string, name: string) => void devices.delete(name),
  };
  const results = new Map<string, unknown>();
  // Only what is asked of them is there.
  const providers = { get: () => ({ storage: { volume } }) } as unknown as Providers;
  const context = {
    signal: new AbortController().signal,
    repeated: false,
    keep: async (name: string, result: unknown) => void results.set(name, JSON.parse(JSON.stringify(result))),
    resultIfAny: (name: string) => results.get(name),
    progress: () => {},
  } as unknown as StepContext<unknown>;
  return { devices, killed, deps: { providers, clock: systemClock }, context };
}
