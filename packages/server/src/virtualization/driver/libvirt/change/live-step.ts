/**
 * What is changed on a running guest, one libvirt call at a time. A step that the hypervisor can't do live is skipped:
 * its change waits for the next start. A step that fails takes those before it back, in reverse.
 */
import type { CallOptions, Connection, NonnullDomain } from "@innkeeper/libvirt";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import type { Logger } from "#core/log.ts";
import { isLibvirtCode } from "#libvirt/error.ts";
import type { Element } from "#libvirt/xml.ts";

/** A running guest before the change. */
export interface LiveGuest {
  readonly remote: Connection["remote"];
  readonly dom: NonnullDomain;
  readonly options: CallOptions;
  readonly root: Element;
  readonly spec: VmSpec;
}

export interface LiveStep {
  /** For the log and for the sentence that says what could not be taken back. */
  readonly what: string;
  run(): Promise<unknown>;
  /** Absent: there is no way back. */
  undo?(): Promise<unknown>;
}

/** libvirt's ways to say that this can't be done while the guest runs. */
const notLive: readonly string[] = [
  "VIR_ERR_OPERATION_UNSUPPORTED",
  "VIR_ERR_CONFIG_UNSUPPORTED",
  "VIR_ERR_ARGUMENT_UNSUPPORTED",
  "VIR_ERR_NO_SUPPORT",
];

/** QEMU's words for the same, which libvirt 9.0 passes on as an internal error (hw/core/qdev.c, softmmu/qdev-monitor.c). */
const notLiveWords = /does not support hot-?(un)?plug/i;

export function canWait(error: unknown): boolean {
  if (notLive.some((name) => isLibvirtCode(error, name))) return true;
  return error instanceof Error && notLiveWords.test(error.message);
}

/** Throws the first failure, after what was done has been taken back; `left` are the steps that could not be. */
export async function runLiveSteps(
  steps: readonly LiveStep[],
  log: Logger,
  onFailure: (left: readonly string[]) => Promise<void>,
): Promise<void> {
  const done: LiveStep[] = [];
  for (const step of steps) {
    try {
      await step.run();
      done.push(step);
    } catch (error) {
      if (canWait(error)) {
        log.info({ step: step.what, reason: String(error) }, "can't be changed live, waits for the next start");
        continue;
      }
      await onFailure(await takeBack(done, log));
      throw error;
    }
  }
}

async function takeBack(done: readonly LiveStep[], log: Logger): Promise<string[]> {
  const left: string[] = [];
  for (const step of done.toReversed()) {
    try {
      if (step.undo === undefined) left.push(step.what);
      else await step.undo();
    } catch (error) {
      log.warn({ step: step.what, reason: String(error) }, "a live change could not be taken back");
      left.push(step.what);
    }
  }
  return left;
}
