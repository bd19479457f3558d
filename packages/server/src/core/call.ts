/** What every call to the outside takes: a signal that cancels it, and progress where it is long. */
export interface Call {
  readonly signal: AbortSignal;
}

export interface LongCall extends Call {
  /** `done` and `total` in bytes; called at most a few times a second. */
  readonly onProgress?: (done: number, total: number) => void;
}
