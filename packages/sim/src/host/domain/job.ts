// A job that runs on a domain and can be asked about and cancelled: a migration, a save.
import type { TypedParameterInput } from "@innkeeper/libvirt/codec/typed-parameter.ts";

export interface DomainJob {
  /** VIR_DOMAIN_JOB_OPERATION_… */
  readonly operation: number;
  /** VIR_DOMAIN_JOB_BOUNDED or _UNBOUNDED, and the figures as of now. */
  stats(): { readonly type: number; readonly params: TypedParameterInput };
  /** Throws when it can't be cancelled any more. */
  abort(): void;
  setMaxDowntimeMs?(value: number): void;
  setBandwidthMiBps?(value: number): void;
  startPostCopy?(): void;
}

/** Of the last job that ended. */
export interface JobResult {
  readonly type: number;
  readonly params: TypedParameterInput;
}
