/**
 * Verbs that start another program of this repository instead of calling the API. They are the only place where the CLI
 * reaches beyond the contract, and each is loaded only when it is asked for.
 */
export interface ProgramContext {
  readonly signal: AbortSignal;
}

export interface Program {
  readonly summary: string;
  /** Gets the words after the verb; resolves with the exit code. */
  readonly load: () => Promise<(argv: readonly string[], context: ProgramContext) => Promise<number>>;
}

export const programs: Readonly<Record<string, Program>> = {
  up: {
    summary: "Run the control plane here, in the foreground.",
    load: async () => (await import("#program/up.ts")).up,
  },
  demo: {
    summary: "Real guests on two real hosts on this machine; --down removes all of it.",
    load: async () => (await import("#program/demo.ts")).demo,
  },
  lab: {
    summary: "Real libvirt hosts on this machine, in namespaces.",
    load: async () => (await import("#program/lab.ts")).lab,
  },
  test: {
    summary: "Bring what is missing and run all tests.",
    load: async () => (await import("#program/test.ts")).test,
  },
};
