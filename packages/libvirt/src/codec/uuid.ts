// UUIDs: 16 bytes on the wire, canonical lower-case text (RFC 9562 §4) in the API.
import { CodecError } from "./codec-error.ts";

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const TEXT = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/iu;

function hex(bytes: Uint8Array, at: number): string {
  return HEX[bytes[at] ?? 0] ?? "";
}

export function formatUuid(b: Uint8Array, at: number): string {
  return (
    `${hex(b, at)}${hex(b, at + 1)}${hex(b, at + 2)}${hex(b, at + 3)}-${hex(b, at + 4)}${hex(b, at + 5)}-` +
    `${hex(b, at + 6)}${hex(b, at + 7)}-${hex(b, at + 8)}${hex(b, at + 9)}-` +
    `${hex(b, at + 10)}${hex(b, at + 11)}${hex(b, at + 12)}${hex(b, at + 13)}${hex(b, at + 14)}${hex(b, at + 15)}`
  );
}

/** Dashes and case are free when writing, as in libvirt's virUUIDParse. */
export function parseUuid(text: unknown, into: Uint8Array, at: number): void {
  if (typeof text !== "string" || !TEXT.test(text)) throw new CodecError(`not a UUID: ${JSON.stringify(text)}`);
  const digits = text.replaceAll("-", "");
  for (let index = 0; index < 16; index += 1)
    into[at + index] = Number.parseInt(digits.slice(index * 2, index * 2 + 2), 16);
}
