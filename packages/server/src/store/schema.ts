/** The tables of the store, the same in every dialect. Documents are JSON text; a revision is written once and only grows. */
export interface StoreSchema {
  /** The present state: one row for each resource. `document` lacks `revision`, which has its own column. */
  resource: { kind: string; id: string; revision: number; document: string };
  /** The change log. `document` is null for a delete. */
  change: { revision: number; kind: string; id: string; operation: string; document: string | null };
  /** What is not a resource and never watched. */
  private: { space: string; key: string; value: string };
  /** The latest revision, which survives the pruning of the log; and how often each of `cachedSpaces` was changed. */
  counter: { name: string; value: number };
  /** At most one row: who leads. See store/postgres/lease.ts. */
  lease: {
    name: string;
    token: number;
    /** Grows while the holder lives; after so long without, it is taken for gone. */
    renewal: number;
    takeover_ms: number;
    holder: string | null;
    /** JSON. */
    address: string | null;
  };
  /** Metrics over longer times: of all things of a part, for the interval that begins at `at_seconds` after 1970. */
  rollup: { interval_seconds: number; part: number; at_seconds: number; content: string };
  /** Migrations that were applied. */
  migration: { version: number; name: string; applied_at: string };
}
