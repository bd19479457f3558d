/** What an operation on hosts, storage and networks changes of a lab's state, told beforehand and compared line by line. */
import assert from "node:assert/strict";
import type { Lab } from "@innkeeper/lab/lab.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { type LabState, localFolder, mapParts } from "./lab-state.ts";

export interface LabChange {
  /** Lines that are there when it is done, and not before. */
  readonly comes?: Partial<LabState>;
  /** Lines that are there before, and not when it is done. */
  readonly goes?: Partial<LabState>;
}

/** The state after the change, of the one before. */
export function changed(state: LabState, { comes = {}, goes = {} }: LabChange): LabState {
  return mapParts((part) => {
    const [coming, going] = [comes[part] ?? [], goes[part] ?? []];
    const has = (line: string): boolean => state[part].includes(line);
    assert.ok(going.every(has) && !coming.some(has), `the situation is another: ${JSON.stringify(state[part])}`);
    return [...state[part].filter((line) => !going.includes(line)), ...coming].toSorted();
  });
}

/** Of a state the lines that none of the others has. */
export function beyond(state: LabState, others: readonly Partial<LabState>[]): LabState {
  return mapParts((part) => state[part].filter((line) => !others.some((each) => each[part]?.includes(line))));
}

export const nothing = mapParts(() => []);

/** Where the documents of pools, networks and volumes are not what the hosts have, of hosts that are in the inventory. */
export function undocumented(lab: Lab, state: LabState, inventory: Inventory): string[] {
  // The lab's hosts are called what they call themselves.
  const hostOf = (hostId: string): string => inventory.require("host", hostId).hardware?.hostname ?? "";
  const isSeen = (file: string): boolean =>
    [localFolder, lab.sharedFolder].some((folder) => file.startsWith(`${folder}/`));
  const place = (hostId: string, file: string): string =>
    `${file.startsWith(`${lab.sharedFolder}/`) ? "shared" : hostOf(hostId)}:${file}`;
  const pools = inventory.list("storage-pool").map((pool) => ({ ...pool, isRunning: pool.state === "running" }));
  const documents = new Set([
    ...pools.map((pool) => `${hostOf(pool.hostId)}: pool ${pool.name} ${words(pool.isRunning, pool.autostart)}`),
    ...inventory
      .list("network")
      .map(
        ({ hostId, name, active, autostart }) => `${hostOf(hostId)}: network ${name} ${words(active, autostart)} yes`,
      ),
    ...inventory.list("volume").flatMap(({ hostId, path }) => (isSeen(path) ? place(hostId, path) : [])),
  ]);
  const hosts = inventory.list("host").map(({ id }) => hostOf(id));
  const folders = pools.flatMap(({ hostId, path, isRunning }) => (isRunning && path ? place(hostId, `${path}/`) : []));
  const real = [
    ...state.objects.filter((line) => hosts.some((host) => line.startsWith(`${host}: `))),
    ...state.files.filter((file) => folders.some((folder) => file.startsWith(folder))),
  ];
  return [
    ...[...documents]
      .filter((line) => ![...state.objects, ...state.files].includes(line))
      .map((line) => `gone: ${line}`),
    ...real.filter((line) => !documents.has(line)).map((line) => `not stored: ${line}`),
  ];
}

/** As virsh lists them. */
function words(active: boolean, autostart: boolean): string {
  return `${active ? "active" : "inactive"} ${autostart ? "yes" : "no"}`;
}
