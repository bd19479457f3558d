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

type Method = (args?: unknown, options?: CallOptions) => Promise<unknown>;

/** Table must be the interface that is generated beside the program's table. */
export function bindCalls<Table extends object>(program: Program, invoke: Invoke): Calls<Table> {
  const methods: Record<string, Method> = {};
  for (const [name, entry] of Object.entries(program.procedures)) {
    if (entry[4] !== undefined) continue;
    methods[name] = NEEDS_DESCRIPTOR.has(`${program.name}.${name}`)
      ? () => Promise.reject(new UnsupportedError(`${name} passes file descriptors, which this client cannot`))
      : (args, options) => invoke(program, name, entry, args, options);
  }
  return methods as Calls<Table>;
}
