/** A cmdlet: what it takes, and what runs. */
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import type { Signature } from "#powercli/signature.ts";

export interface Cmdlet extends Signature {
  readonly run: (run: CmdletRun) => Promise<void>;
}
