/** All migrations, in order. One is never changed once it was released; the number of the last is the schema's version. */
import type { Kysely } from "kysely";
import * as initial from "#store/migration/initial.ts";
import * as lease from "#store/migration/lease.ts";
import * as rollup from "#store/migration/rollup.ts";

export interface Migration {
  readonly name: string;
  up(database: Kysely<unknown>): Promise<void>;
}

export const migrations: readonly Migration[] = [
  { name: "initial", up: initial.up },
  { name: "lease", up: lease.up },
  { name: "rollup", up: rollup.up },
];
