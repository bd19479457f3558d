/**
 * All of a store as rows, from one database into another of any dialect. Invariant: what was copied is read again and is
 * the same, by number of rows and by content, whatever order either database has them in.
 */
import { createHash } from "node:crypto";
import { type Kysely, type RawBuilder, sql } from "kysely";
import { AppError } from "#core/app-error.ts";
import type { StoreSchema } from "#store/schema.ts";

/** The key of each table that is the store's content; of the others every database has its own. */
const keys: Readonly<Record<keyof StoreSchema, readonly string[] | undefined>> = {
  resource: ["kind", "id"],
  change: ["revision"],
  private: ["space", "key"],
  counter: ["name"],
  rollup: ["interval_seconds", "part", "at_seconds"],
  lease: undefined,
  migration: undefined,
};
const pageRows = 500;

type Row = Readonly<Record<string, unknown>>;

interface TableContent {
  readonly rows: number;
  /** Of all rows, in no order. */
  readonly digest: string;
}

/** By table. */
export type StoreContent = Readonly<Record<string, TableContent>>;

/** Both in a transaction: the one sees one moment, of the other nothing is left when this throws. `onTable`: what comes next. */
export async function copyContent(
  from: Kysely<StoreSchema>,
  to: Kysely<StoreSchema>,
  onTable: (table: string) => void = () => {},
): Promise<StoreContent> {
  const source: Record<string, TableContent> = {};
  for (const [table, key] of contentTables()) {
    onTable(table);
    source[table] = await summarize(pages(from, table, key), async (rows) => {
      await to
        .insertInto(table)
        .values(rows as never)
        .execute();
    });
  }
  onTable("check");
  const copy = await contentOf(to);
  if (sameContent(source, copy)) return copy;
  throw new AppError("store_unavailable", "The copy is not what was copied; nothing was changed.", {
    remedy: "Check the disks of both; then try again.",
    fault: { source, copy },
    retryable: false,
  });
}

export async function contentOf(database: Kysely<StoreSchema>): Promise<StoreContent> {
  const content: Record<string, TableContent> = {};
  for (const [table, key] of contentTables()) content[table] = await summarize(pages(database, table, key));
  return content;
}

export function sameContent(one: StoreContent, other: StoreContent): boolean {
  return Object.entries(one).every(
    ([table, { rows, digest }]) => other[table]?.rows === rows && other[table].digest === digest,
  );
}

export function isEmptyContent(content: StoreContent): boolean {
  return Object.values(content).every(({ rows }) => rows === 0);
}

function contentTables(): [keyof StoreSchema, readonly string[]][] {
  return Object.entries(keys).flatMap(([table, key]) =>
    key === undefined ? [] : [[table as keyof StoreSchema, key] as [keyof StoreSchema, readonly string[]]],
  );
}

/** By key, so that no page is held up by those before it. */
async function* pages(
  database: Kysely<StoreSchema>,
  table: keyof StoreSchema,
  key: readonly string[],
): AsyncGenerator<readonly Row[]> {
  const columns = sql.join(key.map((column) => sql.ref(column)));
  let after: RawBuilder<unknown> = sql``;
  for (;;) {
    const { rows } = await sql<Row>`
      select * from ${sql.table(table)} ${after} order by ${columns} limit ${sql.lit(pageRows)}`.execute(database);
    if (rows.length > 0) yield rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < pageRows) return;
    after = sql`where (${columns}) > (${sql.join(key.map((column) => last[column]))})`;
  }
}

async function summarize(
  from: AsyncIterable<readonly Row[]>,
  use: (rows: readonly Row[]) => Promise<void> = async () => {},
): Promise<TableContent> {
  const digest = Buffer.alloc(32);
  let count = 0;
  for await (const rows of from) {
    for (const row of rows) {
      const entries = Object.entries(row).toSorted(([a], [b]) => (a < b ? -1 : 1));
      const hash = createHash("sha256").update(JSON.stringify(entries)).digest();
      // No two rows are the same, so none can cancel another out.
      for (const [index, byte] of hash.entries()) digest[index] = (digest[index] ?? 0) ^ byte;
    }
    count += rows.length;
    await use(rows);
  }
  return { rows: count, digest: digest.toString("hex") };
}

/** Of a target of a copy. */
export function notEmpty(title: string, content: StoreContent): AppError {
  const count = Object.entries(content).map(([table, { rows }]) => `${rows} in ${table}`);
  return new AppError("conflict", `${title} is not empty (rows: ${count.join(", ")}); nothing was changed.`, {
    remedy: "Name a database that is empty.",
  });
}
