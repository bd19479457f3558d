/**
 * What lies where in the state folder: the state itself (store, key file, certificates, whatever else is put there), and
 * beside it the lock, the automatic backups, and old states that were moved aside.
 */
import path from "node:path";

export const storeFileName = "store.sqlite";
export const keyFileName = "secret.key";

export interface StateLayout {
  readonly folder: string;
  readonly store: string;
  readonly key: string;
  /** Of the built-in certificate authority: core/certificate-authority.ts. */
  readonly authority: string;
  readonly lock: string;
  readonly backup: string;
  /** The audit trail; it grows beside the state and is in no backup. */
  readonly audit: string;
}

export function stateLayout(folder: string): StateLayout {
  return {
    folder,
    store: path.join(folder, storeFileName),
    key: path.join(folder, keyFileName),
    authority: path.join(folder, "ca"),
    lock: path.join(folder, lockFileName),
    backup: path.join(folder, backupFolderName),
    audit: path.join(folder, auditFolderName),
  };
}

const lockFileName = "lock";
const backupFolderName = "backup";
const auditFolderName = "audit";
/** Beside the state, not of it. */
const beside: readonly string[] = [lockFileName, backupFolderName, auditFolderName];
/** An old state that `restore` or `recover` moved aside: `old-2026-11-23T04-15-00-000Z`. */
export const asidePrefix = "old-";

/** Whether an entry of the state folder is of the state. What is being worked on begins with a dot. */
export function isOfState(name: string): boolean {
  return !name.startsWith(".") && !name.startsWith(asidePrefix) && !beside.includes(name);
}
