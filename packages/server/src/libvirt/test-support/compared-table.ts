/** All calls that are compared with python3-libvirt's, by what they do. */
import { domainChanges, domainMakings } from "./compared-domain-change.ts";
import { domainReads } from "./compared-domain-read.ts";
import { hostReads } from "./compared-host.ts";
import { networkChanges, networkMakings, networkReads } from "./compared-network.ts";
import {
  poolChanges,
  poolMakings,
  poolReads,
  volumeChanges,
  volumeMakings,
  volumeReads,
  volumeRemovals,
} from "./compared-storage.ts";

export const comparedCalls = {
  hostReads,
  domainReads,
  domainMakings,
  domainChanges,
  poolReads,
  poolMakings,
  poolChanges,
  volumeReads,
  volumeMakings,
  volumeChanges,
  volumeRemovals,
  networkReads,
  networkMakings,
  networkChanges,
} as const;
