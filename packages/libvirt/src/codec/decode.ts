// Decodes a value by its compiled type. One function over one buffer: nothing is allocated but the result.
import { CodecError } from "./codec-error.ts";
import { KIND } from "./schema.ts";
import { readTypedParameters } from "./typed-parameter.ts";
import { formatUuid } from "./uuid.ts";
import type { FieldType, StructType } from "./schema.ts";
import type { XdrReader } from "./xdr-reader.ts";

export function decode(reader: XdrReader, type: FieldType): unknown {
  switch (type.kind) {
    case KIND.int:
    case KIND.short:
    case KIND.char:
      return reader.int();
    case KIND.uint:
    case KIND.ushort:
    case KIND.uchar:
      return reader.uint();
    case KIND.hyper:
      return reader.hyper();
    case KIND.uhyper:
      return reader.uhyper();
    case KIND.string:
      return reader.string(type.limit);
    case KIND.uuid:
      return formatUuid(reader.bytes, reader.take(16));
    case KIND.struct:
      return decodeStruct(reader, type.struct);
    case KIND.params:
      return readTypedParameters(reader, type.limit);
    case KIND.optional:
      return reader.bool() ? decode(reader, elementOf(type)) : null;
    case KIND.array:
      return decodeArray(reader, elementOf(type), reader.length(type.limit, Math.max(1, elementOf(type).minimum)));
    case KIND.fixedArray:
      return decodeArray(reader, elementOf(type), type.limit);
    default:
      return decodeRare(reader, type);
  }
}

function decodeRare(reader: XdrReader, type: FieldType): unknown {
  switch (type.kind) {
    case KIND.bool:
      return reader.bool();
    case KIND.float:
      return reader.float();
    case KIND.double:
      return reader.double();
    case KIND.void:
      return undefined;
    case KIND.opaque:
      return reader.opaque(reader.length(type.limit, 1));
    case KIND.fixedOpaque:
      return reader.opaque(type.limit);
    case KIND.text:
      return text(characters(reader, reader.length(type.limit, 4)));
    case KIND.fixedText:
      return text(characters(reader, type.limit));
    case KIND.bytes:
      return characters(reader, reader.length(type.limit, 4));
    case KIND.union:
      return decodeUnion(reader, type);
    default:
      throw new CodecError(`unknown kind ${type.kind}`);
  }
}

export function decodeStruct(reader: XdrReader, struct: StructType | null): Record<string, unknown> {
  if (struct === null) throw new CodecError("not a struct");
  const { names, types } = struct;
  const out: Record<string, unknown> = {};
  let index = 0;
  try {
    for (; index < names.length; index += 1) out[names[index] ?? ""] = decode(reader, types[index] ?? elementOf(null));
  } catch (error) {
    throw error instanceof CodecError ? error.within(names[index] ?? "") : error;
  }
  return out;
}

function decodeArray(reader: XdrReader, element: FieldType, count: number): unknown[] {
  const out: unknown[] = [];
  let index = 0;
  try {
    for (; index < count; index += 1) out.push(decode(reader, element));
  } catch (error) {
    throw error instanceof CodecError ? error.within(`[${index}]`) : error;
  }
  return out;
}

function decodeUnion(reader: XdrReader, type: FieldType): { case: number; value: unknown } {
  const label = reader.int();
  const arm = type.union?.get(label);
  if (arm === undefined) throw new CodecError(`union has no case ${label}`);
  return { case: label, value: decode(reader, arm) };
}

/** char[] and char<>: each character is an int on the wire (rpcgen's xdr_char). */
function characters(reader: XdrReader, count: number): Uint8Array {
  const at = reader.take(count * 4);
  const out = new Uint8Array(count);
  for (let index = 0; index < count; index += 1) out[index] = reader.bytes[at + index * 4 + 3] ?? 0;
  return out;
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString("utf8");
}

function elementOf(type: FieldType | null): FieldType {
  if (type?.element == null) throw new CodecError("type without an element");
  return type.element;
}
