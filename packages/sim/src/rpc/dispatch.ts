// From a message's numbers to the function that runs it. Every procedure of the protocol is known; one that no noun
// implements answers as libvirt does for a driver without it.
import { lxcProgram } from "@innkeeper/libvirt/generated/lxc-procedure.ts";
import { qemuProgram } from "@innkeeper/libvirt/generated/qemu-procedure.ts";
import { remoteProgram } from "@innkeeper/libvirt/generated/remote-procedure.ts";
import { typeOf } from "@innkeeper/libvirt/rpc/protocol.ts";
import type { ProcedureEntry, Program } from "@innkeeper/libvirt/codec/program.ts";
import type { FieldType } from "@innkeeper/libvirt/codec/schema.ts";
import { notSupported } from "#error.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Opened, Procedures } from "./handler.ts";
import type { Session } from "./session.ts";

type AnyHandler = (host: SimHost, args: unknown, session: Session) => unknown;

export interface Entry {
  readonly name: string;
  readonly argsType: FieldType | null;
  readonly retType: FieldType | null;
  readonly isStream: boolean;
  readonly isImplemented: boolean;
  readonly run: AnyHandler;
}

export class DispatchTable {
  readonly #programs = new Map<number, ReadonlyMap<number, Entry>>();

  constructor(nouns: readonly Procedures[]) {
    const streams = merged(nouns, "streams");
    this.#add(remoteProgram, new Map([...merged(nouns, "remote"), ...streams]));
    this.#add(qemuProgram, merged(nouns, "qemu"));
    this.#add(lxcProgram, new Map());
  }

  /** Names of what some noun implements. */
  get implemented(): readonly string[] {
    return [...this.#programs.values()].flatMap((entries) =>
      [...entries.values()].filter(({ isImplemented }) => isImplemented).map(({ name }) => name),
    );
  }

  entry(program: number, procedure: number): Entry | undefined {
    return this.#programs.get(program)?.get(procedure);
  }

  #add(program: Program, handlers: ReadonlyMap<string, AnyHandler>): void {
    const entries = Object.entries(program.procedures).map(([name, entry]) => build(name, entry, handlers.get(name)));
    this.#programs.set(program.number, new Map(entries));
  }
}

function build(name: string, entry: ProcedureEntry, handler: AnyHandler | undefined): [number, Entry] {
  const [number, args, ret, , stream] = entry;
  const refuse: AnyHandler = () => {
    throw notSupported(name);
  };
  const isStream = stream !== undefined && handler !== undefined;
  const isImplemented = handler !== undefined;
  return [
    number,
    { name, argsType: typeOf(args), retType: typeOf(ret), isStream, isImplemented, run: handler ?? refuse },
  ];
}

/** Two nouns that claim one procedure are a mistake of ours. */
function merged(nouns: readonly Procedures[], kind: keyof Procedures): Map<string, AnyHandler> {
  const handlers = new Map<string, AnyHandler>();
  for (const noun of nouns) {
    for (const [name, handler] of Object.entries(noun[kind] ?? {})) {
      if (handlers.has(name)) throw new Error(`two nouns implement ${name}`);
      handlers.set(name, handler as AnyHandler);
    }
  }
  return handlers;
}

export function isOpened(value: unknown): value is Opened<unknown> {
  return typeof value === "object" && value !== null && "run" in value && "result" in value;
}
