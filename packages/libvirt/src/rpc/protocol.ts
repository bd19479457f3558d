// The compiled protocol: one schema over the generated files, and its programs.
import { Schema } from "#codec/schema.ts";
import { lxcProgram } from "#generated/lxc-procedure.ts";
import { lxcSchema } from "#generated/lxc-schema.ts";
import { netSchema } from "#generated/net-schema.ts";
import { qemuProgram } from "#generated/qemu-procedure.ts";
import { qemuSchema } from "#generated/qemu-schema.ts";
import { remoteProgram } from "#generated/remote-procedure.ts";
import { remoteSchema } from "#generated/remote-schema.ts";
import type { Program } from "#codec/program.ts";
import type { FieldType } from "#codec/schema.ts";

export const schema = new Schema(netSchema, remoteSchema, qemuSchema, lxcSchema);

export const programs: readonly Program[] = [remoteProgram, qemuProgram, lxcProgram];

/** null stands for void, as in the procedure tables. */
export function typeOf(struct: string | null): FieldType | null {
  return struct === null ? null : schema.type(struct);
}
