/** `inn backup-config`: the control plane's whole state in one encrypted file, while it runs. `inn restore` reads it. */
import { createWriteStream } from "node:fs";
import { link, rename, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import type { Command } from "commander";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import { CliError, usageError, valueError } from "#cli-error.ts";
import type { Invocation } from "#invocation.ts";
import { newPassword } from "#option/secret.ts";
import { addVerb, type Surroundings } from "#verb.ts";

export function addBackup(root: Command, surroundings: Surroundings): void {
  addVerb(root, surroundings, {
    usage: "backup-config <file>",
    summary: "Back up the control plane's state into an encrypted file; `-` is standard output.",
    operations: ["systemBackup"],
    options: (command) =>
      command
        .option("--password-file <file>", "file with the backup's password (default: INN_PASSWORD, or it is asked for)")
        .option("--force", "overwrite the file"),
    details: `The backup holds all that is needed to go on elsewhere: inventory, users, tasks, events, the hosts' keys and
passwords, the key file, the certificate authority. It is encrypted with the password (argon2id, AES-256-GCM): without
the password nobody can read it. The server goes on meanwhile. VMs and their disks are not in it.
Bring it back with \`inn restore FILE\`. See docs/backup-and-recovery.md.`,
    examples: [
      "backup-config innkeeper.innbackup",
      "backup-config --password-file /root/backup.password - | ssh vault 'cat > innkeeper.innbackup'",
    ],
    run: backup,
    fieldOption: (field) => (field === "password" ? "--password-file" : field),
  });
}

async function backup(invocation: Invocation, file: string): Promise<void> {
  const { api, terminal, options } = invocation;
  if (file === "-" && terminal.outputIsTerminal)
    throw usageError("a backup is nothing for a terminal", "Redirect the output.");
  const password = await newPassword(invocation);
  const { stream } = await api.download("systemBackup", { body: { password } });
  if (file === "-") {
    for await (const chunk of stream) {
      if (!terminal.output.write(chunk)) await new Promise<void>((resolve) => terminal.output.once("drain", resolve));
    }
    return;
  }
  const sizeBytes = await save(stream, file, options.flag("force") === true);
  invocation.remark(`saved ${file}, ${formatBytes(sizeBytes)}\n`);
}

/** The file appears whole or not at all, readable by its owner alone. */
async function save(stream: AsyncIterable<Uint8Array>, file: string, overwrite: boolean): Promise<number> {
  const partial = `${file}.${process.pid}.part`;
  try {
    const target = createWriteStream(partial, { flags: "wx", mode: 0o600, flush: true });
    await pipeline(stream, target);
    if (overwrite) await rename(partial, file);
    else await link(partial, file);
    return target.bytesWritten;
  } catch (error) {
    throw saveError(file, error);
  } finally {
    await rm(partial, { force: true });
  }
}

function saveError(file: string, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof CliError) return error;
  const code = "code" in error ? String(error.code) : "";
  if (code === "EEXIST") return valueError("<file>", `${file} exists`, "Name another one, or say --force.");
  if (code === "ENOSPC")
    return valueError("<file>", `no space is left for ${file}; nothing was saved`, "Free space there.");
  if (code === "ECONNRESET" || code === "ERR_STREAM_PREMATURE_CLOSE") {
    return new CliError("the server broke off; nothing was saved", {
      exitCode: 69, // EX_UNAVAILABLE, sysexits.h
      remedy: "Look into the server's log, then try again.",
      cause: error,
    });
  }
  return valueError("<file>", `${file} can't be written: ${error.message}`);
}
