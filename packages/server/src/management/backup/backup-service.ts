/**
 * Backups of the control plane while it runs: everything that is needed to go on elsewhere, as of one commit. The store is
 * copied first, so that a disk that is full, or a store that is damaged, is an error and not half a backup; while it is
 * copied writes wait, reads go on. One at a time.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { AppError } from "#core/app-error.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { SecretBox } from "#core/secret-box.ts";
import { stateLayout } from "#core/state-layout.ts";
import type { Store } from "#store/port.ts";
import type { KeyMaterial } from "./backup-key.ts";
import { writeBackup } from "./backup-file.ts";
import { stateFiles } from "./state-files.ts";

interface BackupDeps {
  readonly store: Store;
  readonly secretBox: SecretBox;
  readonly stateFolder: string;
  readonly version: string;
  readonly clock: Clock;
}

/** To be read once; disposed of, read or not. */
interface RunningBackup extends AsyncDisposable {
  readonly content: AsyncIterable<Uint8Array>;
}

/** What a process that was killed left is told by this. */
const copyPrefix = ".copy-";

export class BackupService {
  readonly #deps: BackupDeps;
  #isRunning = false;

  constructor(deps: BackupDeps) {
    this.#deps = deps;
  }

  /** With a password it holds everything; without, it is sealed by the key file, which it does not hold. */
  async create(password: string | undefined): Promise<RunningBackup> {
    if (this.#isRunning) {
      throw new AppError("conflict", "A backup is being made already.", {
        remedy: "Wait for its end.",
        retryable: true,
      });
    }
    this.#isRunning = true;
    const { store, secretBox, stateFolder, version, clock } = this.#deps;
    const folder = stateLayout(stateFolder).backup;
    const copy = path.join(folder, copyPrefix + randomBytes(6).toString("hex"));
    const end = async (): Promise<void> => {
      await rm(copy, { force: true });
      this.#isRunning = false;
    };
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await removeLeftCopies(folder);
      await store.copyTo(copy);
      const material: KeyMaterial =
        password === undefined ? { kind: "state", box: secretBox } : { kind: "password", password };
      const entries = stateFiles(stateFolder, copy, { withKey: password !== undefined });
      const content = writeBackup({ version, createdAt: timestamp(clock) }, material, entries);
      return { content, [Symbol.asyncDispose]: end };
    } catch (error) {
      await end();
      throw error;
    }
  }
}

async function removeLeftCopies(folder: string): Promise<void> {
  const left = (await readdir(folder)).filter((name) => name.startsWith(copyPrefix));
  for (const name of left) await rm(path.join(folder, name), { force: true });
}
