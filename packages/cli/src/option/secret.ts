/** Passwords: from a file, from INN_PASSWORD, or typed without an echo. Never an argument: those are seen by every user of the machine. */
import { usageError } from "#cli-error.ts";
import type { Invocation } from "#invocation.ts";
import { fileSecret } from "#option/file.ts";
import { askSecret } from "#terminal.ts";

export async function password(invocation: Invocation, question: string, option = "passwordFile"): Promise<string> {
  const fromFile = await fileSecret("--password-file", invocation.options.text(option));
  if (fromFile !== undefined) return fromFile;
  const fromEnvironment = invocation.environment["INN_PASSWORD"];
  if (fromEnvironment !== undefined && fromEnvironment !== "" && option === "passwordFile") return fromEnvironment;
  if (!invocation.terminal.inputIsTerminal) {
    throw usageError(
      "there is no terminal to ask for the password",
      "Give it with --password-file or in INN_PASSWORD.",
    );
  }
  const typed = await askSecret(invocation.terminal, question);
  if (typed === undefined) throw usageError("no password was typed");
  return typed;
}

/** A password to be set: typed twice where it is typed. */
export async function newPassword(invocation: Invocation): Promise<string> {
  const first = await password(invocation, "New password: ");
  const typed = invocation.options.text("passwordFile") === undefined && !invocation.environment["INN_PASSWORD"];
  if (typed && (await password(invocation, "Once more: ")) !== first) throw usageError("the two passwords differ");
  return first;
}
