/**
 * The programs behind `inn up`, `restore`, `recover`, `store`, `demo`, `lab`, `sim` and `test`: the only place where the CLI reaches beyond the contract. Each is
 * loaded only when it is asked for.
 */
import type { ProgramContext, ProgramName } from "#program-name.ts";

/** Gets the words after the verb; resolves with the exit code. */
export type Program = (argv: readonly string[], context: ProgramContext) => Promise<number>;

export const programs: Readonly<Record<ProgramName, () => Promise<Program>>> = {
  up: async () => (await import("#program/up.ts")).up,
  restore: async () => (await import("#program/restore.ts")).restore,
  store: async () => (await import("#program/store.ts")).store,
  recover: async () => (await import("#program/recover.ts")).recover,
  demo: async () => (await import("#program/demo.ts")).demo,
  lab: async () => (await import("#program/lab.ts")).lab,
  sim: async () => (await import("#program/sim.ts")).sim,
  test: async () => (await import("#program/test.ts")).test,
};
