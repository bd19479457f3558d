// Encodes a value by its compiled type. Every value is checked; the error names the field.
import { CodecError } from "./codec-error.ts";
import { KIND } from "./schema.ts";
import { writeTypedParameters } from "./typed-parameter.ts";
import { parseUuid } from "./uuid.ts";
import { describe } from "./xdr-writer.ts";
import type { FieldType, StructType } from "./schema.ts";
import type { XdrWriter } from "./xdr-writer.ts";

export function encode(writer: XdrWriter, type: FieldType, value: unknown): void {
  switch (type.kind) {
    case KIND.int:
      return writer.int(value);
    case KIND.uint:
      return writer.uint(value === undefined && type.isZeroDefault ? 0 : value);
    case KIND.hyper:
      return writer.hyper(value);
    case KIND.uhyper:
      return writer.uhyper(value);
    case KIND.string:
      return writer.string(value, type.limit);
    case KIND.uuid:
      return encodeUuid(writer, value);
    case KIND.struct:
      return encodeStruct(writer, type.struct, value);
    case KIND.params:
      return writeTypedParameters(writer, value, type.limit);
    case KIND.optional:
      if (value === null || value === undefined) return writer.uint(0);
      writer.uint(1);
      return encode(writer, elementOf(type), value);
    case KIND.array:
    case KIND.fixedArray:
      return encodeArray(writer, type, value);
    default:
      return encodeRare(writer, type, value);
  }
}

function encodeUuid(writer: XdrWriter, value: unknown): void {
  const at = writer.reserve(16);
  parseUuid(value, writer.bytes, at);
}

function encodeRare(writer: XdrWriter, type: FieldType, value: unknown): void {
  switch (type.kind) {
    case KIND.short:
      return writer.small(value, -0x8000, 0x7fff);
    case KIND.ushort:
      return writer.small(value, 0, 0xffff);
    case KIND.char:
      return writer.small(value, -0x80, 0x7f);
    case KIND.uchar:
      return writer.small(value, 0, 0xff);
    case KIND.bool:
      return writer.bool(value);
    case KIND.float:
      return writer.float(value);
    case KIND.double:
      return writer.double(value);
    case KIND.void:
      return undefined;
    case KIND.opaque:
      return writer.opaque(value, 0, type.limit);
    case KIND.fixedOpaque:
      return writer.opaque(value, type.limit, type.limit);
    case KIND.text:
    case KIND.fixedText:
    case KIND.bytes:
      return encodeCharacters(writer, type, value);
    case KIND.union:
      return encodeUnion(writer, type, value);
    default:
      throw new CodecError(`unknown kind ${type.kind}`);
  }
}

function encodeStruct(writer: XdrWriter, struct: StructType | null, value: unknown): void {
  if (struct === null) throw new CodecError("not a struct");
  if (!isRecord(value)) throw new CodecError(`an object is needed, not ${describe(value)}`);
  const { names, types } = struct;
  let index = 0;
  try {
    for (; index < names.length; index += 1) {
      const type = types[index];
      if (type !== undefined) encode(writer, type, value[names[index] ?? ""]);
    }
  } catch (error) {
    throw error instanceof CodecError ? error.within(names[index] ?? "") : error;
  }
}

function encodeArray(writer: XdrWriter, type: FieldType, value: unknown): void {
  if (!Array.isArray(value)) throw new CodecError(`an array is needed, not ${describe(value)}`);
  const element = elementOf(type);
  if (type.kind === KIND.array) writer.length(value.length, type.limit);
  else if (value.length !== type.limit) throw new CodecError(`${value.length} elements, not ${type.limit}`);
  let index = 0;
  try {
    for (; index < value.length; index += 1) encode(writer, element, value[index]);
  } catch (error) {
    throw error instanceof CodecError ? error.within(`[${index}]`) : error;
  }
}

function encodeUnion(writer: XdrWriter, type: FieldType, value: unknown): void {
  if (!isRecord(value) || typeof value["case"] !== "number") throw new CodecError("a union needs { case, value }");
  const arm = type.union?.get(value["case"]);
  if (arm === undefined) throw new CodecError(`union has no case ${value["case"]}`);
  writer.int(value["case"]);
  encode(writer, arm, value["value"]);
}

function encodeCharacters(writer: XdrWriter, type: FieldType, value: unknown): void {
  const isText = type.kind !== KIND.bytes;
  if (isText ? typeof value !== "string" : !(value instanceof Uint8Array)) {
    throw new CodecError(`a ${isText ? "string" : "Uint8Array"} is needed, not ${describe(value)}`);
  }
  const content =
    typeof value === "string" ? Buffer.from(value, "utf8") : value instanceof Uint8Array ? value : new Uint8Array();
  // libvirt counts the final NUL of a variable-length text (remoteDispatchDomainGetSecurityLabel).
  const used = content.byteLength + (isText ? 1 : 0);
  if (used > type.limit) throw new CodecError(`${used} bytes exceed the limit of ${type.limit}`);
  const count = type.kind === KIND.fixedText ? type.limit : used;
  if (type.kind !== KIND.fixedText) writer.uint(count);
  for (let index = 0; index < count; index += 1) writer.int(((content[index] ?? 0) << 24) >> 24);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function elementOf(type: FieldType): FieldType {
  if (type.element === null) throw new CodecError("type without an element");
  return type.element;
}
