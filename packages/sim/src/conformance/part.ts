// The suite, part by part.
import { domainPart } from "./domain-part.ts";
import { migrationPart } from "./migration-part.ts";
import { networkPart } from "./network-part.ts";
import { nodePart } from "./node-part.ts";
import { piecePart } from "./piece-part.ts";
import { snapshotPart } from "./snapshot-part.ts";
import { statsPart } from "./stats-part.ts";
import { storagePart } from "./storage-part.ts";
import type { ConformancePart } from "./transcript.ts";

export const parts: readonly ConformancePart[] = [
  nodePart,
  statsPart,
  domainPart,
  piecePart,
  storagePart,
  networkPart,
  snapshotPart,
  migrationPart,
];
