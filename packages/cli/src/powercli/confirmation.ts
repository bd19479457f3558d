/**
 * -WhatIf and -Confirm. As in PowerShell, cmdlets of high impact ask on their own, once for each object, with "Yes to All" and
 * "No to All"; where nobody can be asked, they refuse instead of going on. Facts: PowerShell's about_Preference_Variables
 * ($ConfirmPreference) and Host.PromptForChoice.
 */
import { usageError } from "#cli-error.ts";
import type { Invocation } from "#invocation.ts";
import type { Bound } from "#powercli/bind.ts";
import type { Signature } from "#powercli/signature.ts";
import { ask, type Terminal } from "#terminal.ts";

const choices = '[Y] Yes  [A] Yes to All  [N] No  [L] No to All  [?] Help (default is "Y"): ';
const help = `Y - this one.  A - this and all that follow.  N - not this one.  L - none any more.
`;

export class Confirmation {
  readonly #cmdlet: Signature;
  readonly #invocation: Invocation;
  readonly #whatIf: boolean;
  readonly #asks: boolean;
  #forAll: boolean | undefined;

  constructor(cmdlet: Signature, bound: Bound, invocation: Invocation) {
    this.#cmdlet = cmdlet;
    this.#invocation = invocation;
    this.#whatIf = bound.flag("WhatIf") === true;
    this.#asks = bound.flag("Confirm") ?? cmdlet.impact === "asks";
  }

  async agreed(action: string, target: string): Promise<boolean> {
    const said = `Performing the operation "${action}" on target "${target}".`;
    if (this.#whatIf) {
      this.#invocation.remark(`What if: ${said}\n`);
      return false;
    }
    if (!this.#asks) return true;
    if (this.#forAll !== undefined) return this.#forAll;
    return await this.#question(said);
  }

  async #question(said: string): Promise<boolean> {
    const { terminal, signal } = this.#invocation;
    // Objects may come through standard input while a person sits before it.
    const keyboard = terminal.inputIsTerminal ? undefined : terminal.openKeyboard?.();
    if (!terminal.inputIsTerminal && keyboard === undefined) {
      throw usageError(
        `${this.#cmdlet.name} asks first, and there is no terminal to ask on. ${said.replace("Performing", "Not done:")}`,
        "Say -Confirm:$false.",
      );
    }
    terminal.errors.write(`\nConfirm\nAre you sure you want to perform this action?\n${said}\n`);
    try {
      const asked = keyboard === undefined ? terminal : { ...terminal, input: keyboard, inputIsTerminal: true };
      return await this.#answer(asked, signal);
    } finally {
      keyboard?.destroy();
    }
  }

  async #answer(terminal: Terminal, signal: AbortSignal): Promise<boolean> {
    while (true) {
      const answer = (await ask(terminal, choices, signal).catch(() => "l")).trim().toLowerCase();
      if (["", "y", "yes"].includes(answer)) return true;
      if (["n", "no"].includes(answer)) return false;
      if (answer === "a" || answer === "l") return (this.#forAll = answer === "a");
      if (answer === "?") terminal.errors.write(help);
    }
  }
}
