// Typed calls: the generated tables as objects with one method per procedure.
import { UnsupportedError } from "#rpc/error.ts";
import type { ProcedureEntry, Program } from "#codec/program.ts";
import type { CallOptions } from "#rpc/pending-call.ts";

/** Procedures without an argument take an empty object, so that options are always second. */
export type NoArguments = Readonly<Record<string, never>>;

export type Calls<Table extends object> = {
  readonly [Name in keyof Table]: Table[Name] extends [infer Args, infer Ret]
    ? Args extends void
      ? (args?: NoArguments, options?: CallOptions) => Promise<Ret>
      : (args: Args, options?: CallOptions) => Promise<Ret>
    : never;
};

export type Invoke = (
  program: Program,
  name: string,
  entry: ProcedureEntry,
  args: unknown,
  options?: CallOptions,
) => Promise<unknown>;

/** Procedures whose whole point is a file descriptor beside the message; Node's sockets cannot pass those. */
const NEEDS_DESCRIPTOR = new Set([
  "remote.domainOpenGraphics",
  "remote.domainOpenGraphicsFd",
  "remote.domainFdAssociate",
  "lxc.domainOpenNamespace",
  "qemu.domainMonitorCommandWithFiles",
]);

const INVOKE = Symbol("invoke");

interface Caller {
  readonly [INVOKE]: Invoke;
}

type Method = (this: Caller, args?: unknown, options?: CallOptions) => Promise<unknown>;

/** Of each program: its methods are the same for every connection, and there are hundreds of them. */
const prototypes = new WeakMap<Program, Readonly<Record<string, Method>>>();

/** Table must be the interface that is generated beside the program's table. */
export function bindCalls<Table extends object>(program: Program, invoke: Invoke): Calls<Table> {
  const prototype = prototypes.get(program) ?? methodsOf(program);
  prototypes.set(program, prototype);
  return Object.create(prototype, { [INVOKE]: { value: invoke } }) as Calls<Table>;
}

function methodsOf(program: Program): Record<string, Method> {
  const methods: Record<string, Method> = {};
  for (const [name, entry] of Object.entries(program.procedures)) {
    if (entry[4] !== undefined) continue;
    methods[name] = NEEDS_DESCRIPTOR.has(`${program.name}.${name}`)
      ? () => Promise.reject(new UnsupportedError(`${name} passes file descriptors, which this client cannot`))
      : function call(args, options) {
          return this[INVOKE](program, name, entry, args, options);
        };
  }
  return methods;
}
