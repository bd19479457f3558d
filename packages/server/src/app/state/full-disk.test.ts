/** The disk of the state full, while a server runs on it and while a backup is brought back. */
import { test } from "node:test";
import { onSmallDisk } from "../test-support/small-disk.ts";

test(
  "a full disk: reads go on, writes are refused with 507, all goes on when there is space",
  { timeout: 120_000 },
  () => onSmallDisk(16, new URL("full-disk.child.ts", import.meta.url)),
);
