// How busy a guest is, as a function of time: a base, a wave over the day, and bursts. The work done between two moments
// has a closed form, so counters are computed when they are asked for, and nothing runs in the meantime.
import { hashFraction } from "./random.ts";

const DAY_S = 86_400;

/** What a fleet's guests are like. Fractions of what a guest could use at most. */
export interface LoadProfile {
  readonly base: number;
  /** What the day's wave adds at its height. */
  readonly day: number;
  /** What a burst adds. */
  readonly burst: number;
  readonly burstPeriodS: number;
  /** The part of a period that a burst lasts. */
  readonly burstDuty: number;
  /** The part of the guests that are always busy. */
  readonly hotPart: number;
  /** Of its memory, what a guest uses when it starts, and what it grows to within about a day. */
  readonly memoryStart: number;
  readonly memoryEnd: number;
  /** What a guest that is fully busy reads and writes per second. */
  readonly diskBytesPerS: number;
  readonly netBytesPerS: number;
}

export const OFFICE_LOAD: LoadProfile = {
  base: 0.03,
  day: 0.22,
  burst: 0.35,
  burstPeriodS: 2_700,
  burstDuty: 0.08,
  hotPart: 0.04,
  memoryStart: 0.25,
  memoryEnd: 0.7,
  diskBytesPerS: 40_000_000,
  netBytesPerS: 15_000_000,
};

export class LoadCurve {
  readonly profile: LoadProfile;
  readonly #base: number;
  readonly #day: number;
  readonly #dayPhaseS: number;
  readonly #burst: number;
  readonly #periodS: number;
  readonly #burstPhaseS: number;
  readonly #memoryEnd: number;

  constructor(profile: LoadProfile, seed: number, name: string) {
    const chance = (what: string): number => hashFraction(seed, name, what);
    const isHot = chance("hot") < profile.hotPart;
    this.profile = profile;
    this.#base = isHot ? 0.6 : profile.base * (0.4 + 1.2 * chance("base"));
    this.#day = Math.min(isHot ? 0.2 : profile.day * (0.3 + 1.4 * chance("day")), 1 - this.#base);
    // Most peak in the afternoon, UTC; some at night.
    this.#dayPhaseS = (chance("night") < 0.15 ? 0.75 : 0.35) * DAY_S + 10_800 * (chance("phase") - 0.5);
    this.#burst = Math.min(profile.burst * 2 * chance("burst"), 1 - this.#base - this.#day);
    this.#periodS = profile.burstPeriodS * (0.5 + chance("period"));
    this.#burstPhaseS = this.#periodS * chance("burst-phase");
    this.#memoryEnd = profile.memoryStart + (profile.memoryEnd - profile.memoryStart) * (0.3 + 0.7 * chance("memory"));
  }

  /** Of all that the guest could use: 0 … 1. @param atS seconds since the epoch. */
  at(atS: number): number {
    const wave = (1 + Math.sin((2 * Math.PI * (atS - this.#dayPhaseS)) / DAY_S)) / 2;
    const inPeriodS = modulo(atS - this.#burstPhaseS, this.#periodS);
    const isBurst = inPeriodS < this.#periodS * this.profile.burstDuty;
    return this.#base + this.#day * wave + (isBurst ? this.#burst : 0);
  }

  /** Seconds of full load done from the epoch to a moment; a difference of two is the work between them. */
  work(untilS: number): number {
    const radians = (2 * Math.PI) / DAY_S;
    const wave = untilS / 2 - Math.cos(radians * (untilS - this.#dayPhaseS)) / (2 * radians);
    const burstS = this.#periodS * this.profile.burstDuty;
    const sinceS = untilS - this.#burstPhaseS;
    const bursts = Math.floor(sinceS / this.#periodS) * burstS + Math.min(modulo(sinceS, this.#periodS), burstS);
    return this.#base * untilS + this.#day * wave + this.#burst * bursts;
  }

  /** The part of its memory that the guest uses after so long. */
  memory(runningS: number): number {
    const { memoryStart } = this.profile;
    return memoryStart + (this.#memoryEnd - memoryStart) * (1 - Math.exp(-runningS / (DAY_S / 3)));
  }
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}
