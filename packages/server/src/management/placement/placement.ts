/**
 * Where a VM goes: a pure choice among candidates, each with the problems that speak against it. Every answer says why
 * this host and why not the others. A solver that weighs more takes the same candidates and gives the same decision.
 */
import type { Problem } from "#management/vm/hardware-check.ts";

export interface Candidate {
  readonly hostId: string;
  readonly hostName: string;
  /** What rules it out, most fundamental first. */
  readonly problems: readonly Problem[];
  /** Memory that a new guest can have there now. */
  readonly memoryFreeMiB: number;
}

interface Demand {
  readonly memoryMiB: number;
  /** It starts at once, so the memory must be free now and not only exist. */
  readonly start: boolean;
}

export interface PlacementDecision {
  readonly hostId: string;
  readonly hostName: string;
  /** Why this one, for people. */
  readonly reasons: readonly string[];
  readonly rejected: readonly { readonly hostId: string; readonly hostName: string; readonly reason: string }[];
}

/** The host with the most free memory of those that fit; undefined when none does. */
export function place(candidates: readonly Candidate[], demand: Demand): PlacementDecision | undefined {
  const judged = candidates.map((candidate) => ({ candidate, reason: unfit(candidate, demand) }));
  const fit = judged
    .filter(({ reason }) => reason === undefined)
    .map(({ candidate }) => candidate)
    .toSorted((a, b) => b.memoryFreeMiB - a.memoryFreeMiB || a.hostName.localeCompare(b.hostName));
  const [best, ...others] = fit;
  if (best === undefined) return undefined;
  const rejected = [
    ...others.map(({ hostId, hostName, memoryFreeMiB }) => ({
      hostId,
      hostName,
      reason: `it fits, but has less free memory (${memoryFreeMiB} MiB)`,
    })),
    ...judged.flatMap(({ candidate: { hostId, hostName }, reason }) =>
      reason === undefined ? [] : [{ hostId, hostName, reason }],
    ),
  ];
  const only = others.length === 0 ? "it is the only host that fits" : `most free memory of ${fit.length} that fit`;
  return {
    hostId: best.hostId,
    hostName: best.hostName,
    reasons: [`${only} (${best.memoryFreeMiB} MiB free)`],
    rejected,
  };
}

/** Why a candidate is out; undefined if it fits. */
export function unfit(candidate: Candidate, demand: Demand): string | undefined {
  const [problem] = candidate.problems;
  if (problem !== undefined) return problem.message;
  if (demand.start && candidate.memoryFreeMiB < demand.memoryMiB) {
    return `Host ${candidate.hostName} has ${candidate.memoryFreeMiB} MiB of memory free, less than ${demand.memoryMiB} MiB.`;
  }
  return undefined;
}
