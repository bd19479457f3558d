/** PostgreSQL's disk full, while a server runs on it. */
import { test } from "node:test";
import { onSmallDisk } from "../test-support/small-disk.ts";

test(
  "a full disk under PostgreSQL: reads go on, writes are refused with the reason, nothing that was said is lost",
  { timeout: 120_000 },
  () => onSmallDisk(128, new URL("full-disk-postgres.child.ts", import.meta.url)),
);
