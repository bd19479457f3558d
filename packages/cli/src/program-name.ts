/** Verbs that start another program of this repository instead of calling the API; what runs is in program/table.ts. */
export const programSummary = {
  up: "Run the control plane here, in the foreground.",
  restore: "Bring a backup of the control plane back, while no server runs on its state.",
  store: "Move the control plane's store: `inn store migrate --to postgres://…`, and back.",
  recover: "Rebuild a lost or damaged state from what is left of it, backups, and the hosts.",
  demo: "Real guests on two real hosts on this machine; --down removes all of it.",
  lab: "Real libvirt hosts on this machine, in namespaces.",
  sim: "A simulated fleet that speaks libvirt's protocol, in the foreground; and what goes wrong in it.",
  test: "Bring what is missing and run all tests.",
} as const;

/** What can follow them, for completion. */
export const programWords: Readonly<Record<ProgramName, readonly string[]>> = {
  up: [
    "--state",
    "--store",
    "--store-password-file",
    "--advertise-url",
    "--takeover-seconds",
    "--listen",
    "--tls-cert",
    "--tls-key",
    "--tls-name",
    "--no-tls",
    "--trust-proxy",
    "--no-local",
    "--local",
    "--admin-password-file",
    "--backup-keep",
    "--backup-folder",
    "--backup-password-file",
    "--log-level",
  ],
  restore: ["--state", "--store", "--store-password-file", "--password-file", "--check"],
  store: ["migrate"],
  recover: ["--state", "--host", "--hosts-file", "--tls-ca", "--tls-cert", "--tls-key", "--ssh-key", "--force"],
  demo: ["--down"],
  lab: ["up", "down", "list", "exec", "crash", "start", "partition", "heal"],
  sim: [
    "up",
    "list",
    "uris",
    "power-off",
    "power-on",
    "isolate",
    "partition",
    "heal",
    "clock",
    "disk-full",
    "disk-free",
    "fault",
    "fault-clear",
  ],
  test: [],
};

export type ProgramName = keyof typeof programSummary;

export function isProgramName(word: string): word is ProgramName {
  return Object.hasOwn(programSummary, word);
}

/** What a program gets beside its words. */
export interface ProgramContext {
  readonly signal: AbortSignal;
}
