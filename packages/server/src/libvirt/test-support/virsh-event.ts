/** Events in virsh's words: libvirt 9.0 tools/virsh-domain-event.c, virsh-network.c, virsh-pool.c, virsh-secret.c. */

/** As all three watchers tell it: class, kind, name of the object, and the rest in libvirt's order. */
export interface ToldEvent {
  readonly of: "domain" | "network" | "storagePool" | "secret";
  readonly kind: string;
  readonly name: string;
  readonly values: readonly unknown[];
}

const lifecycleWords: readonly (readonly [string, readonly string[]])[] = [
  ["Defined", ["Added", "Updated", "Renamed", "Snapshot"]],
  ["Undefined", ["Removed", "Renamed"]],
  ["Started", ["Booted", "Migrated", "Restored", "Snapshot", "Event wakeup"]],
  ["Suspended", ["Paused", "Migrated", "I/O Error", "Watchdog", "Restored", "Snapshot", "API error"]],
  ["Resumed", ["Unpaused", "Migrated", "Snapshot"]],
  ["Stopped", ["Shutdown", "Destroyed", "Crashed", "Migrated", "Saved", "Failed", "Snapshot"]],
  ["Shutdown", ["Finished", "Finished after guest request", "Finished after host request"]],
  ["PMSuspended", ["Memory", "Disk"]],
  ["Crashed", ["Panicked", "Crashloaded"]],
];
const otherLifecycleWords = ["Defined", "Undefined", "Started", "Stopped", "Created", "Deleted"];
const jobWords = ["Unknown job", "Block Pull", "Block Copy", "Block Commit", "Active Block Commit", "Backup"];
const jobStatusWords = ["completed", "failed", "canceled", "ready"];
const agentWords = ["unknown", "connected", "disconnected"];
const agentReasonWords = ["unknown", "domain started", "channel event"];
const objectWords = { network: "network", storagePool: "storage pool", secret: "secret" } as const;

/** Where virsh parts words otherwise than by our capitals and digits. */
const kindWords: Readonly<Record<string, string>> = {
  pmwakeup: "pm-wakeup",
  pmsuspend: "pm-suspend",
  pmsuspendDisk: "pm-suspend-disk",
};

type Words = (values: readonly string[], params: Readonly<Record<string, unknown>>) => string;

const paramLines: Words = (_values, params) =>
  Object.entries(params)
    .map(([name, value]) => `\n\t${name}: ${String(value)}`)
    .join("");
const blockJob: Words = ([disk, type, status]) =>
  ` ${jobWords[Number(type)]} for ${disk} ${jobStatusWords[Number(status)]}`;
const alias: Words = ([name]) => ` ${name}`;

/** What follows `for domain '…'` and, where there is something, a colon. */
const domainWords: Readonly<Record<string, Words>> = {
  lifecycle: ([event, detail]) => {
    const [word, details] = lifecycleWords[Number(event)] ?? ["unknown", []];
    return ` ${word} ${details[Number(detail)] ?? "unknown"}`;
  },
  rtcChange: ([offset]) => ` ${offset}`,
  blockJob,
  blockJob2: blockJob,
  balloonChange: ([actual]) => ` ${actual}KiB`,
  deviceRemoved: alias,
  deviceAdded: alias,
  deviceRemovalFailed: alias,
  tunable: paramLines,
  jobCompleted: paramLines,
  agentLifecycle: ([state, reason]) =>
    ` state: '${agentWords[Number(state)]}' reason: '${agentReasonWords[Number(reason)]}'`,
  migrationIteration: ([iteration]) => ` iteration: '${iteration}'`,
  metadataChange: ([type, uri]) => ` type ${["description", "title", "element"][Number(type)]}, uri ${uri}`,
  blockThreshold: ([dev, file, threshold, excess]) => ` dev: ${dev}(${file}) ${threshold} ${excess}`,
};

export function inVirshWords({ of, kind, name, values }: ToldEvent): string {
  const told = kindWords[kind] ?? kind.replaceAll(/[A-Z0-9]/gu, (letter) => `-${letter.toLowerCase()}`);
  const texts = values.map((value) => (value === null ? "<null>" : String(value)));
  if (of !== "domain") {
    const event = kind === "lifecycle" ? `: ${otherLifecycleWords[Number(values[0])]}` : "";
    return `event '${told}' for ${objectWords[of]} ${name}${event}`;
  }
  if (kind === "trayChange" || kind === "diskChange") return mediaWords(told, name, texts);
  const [first] = values;
  const words = domainWords[kind]?.(texts, isRecord(first) ? first : {});
  return `event '${told}' for domain '${name}'${words === undefined ? "" : `:${words}`}`;
}

function mediaWords(told: string, name: string, texts: readonly string[]): string {
  if (told === "tray-change") {
    const [device, reason] = texts;
    return `event '${told}' for domain '${name}' disk ${device}: ${["opened", "closed"][Number(reason)]}`;
  }
  const [before, after, device, reason] = texts;
  return `event '${told}' for domain '${name}' disk ${device}: ${before} -> ${after}: ${["changed", "dropped"][Number(reason)]}`;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
