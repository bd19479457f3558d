// UUIDs: 16 bytes on the wire, canonical lower-case text (RFC 9562 §4) in the API.
import { CodecError } from "./codec-error.ts";

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
/** Value of a hexadecimal digit by its character code; -1 for every other. */
const DIGIT = Int8Array.from({ length: 128 }, (_, code) =>
  "0123456789abcdef".indexOf(String.fromCharCode(code).toLowerCase()),
);
const DASH = 45;

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

/** Dashes (between the groups) and case are free when writing, as in libvirt's virUUIDParse. */
export function parseUuid(text: unknown, into: Uint8Array, at: number): void {
  if (typeof text !== "string" || !isParsed(text, into, at))
    throw new CodecError(`not a UUID: ${JSON.stringify(text)}`);
}

function isParsed(text: string, into: Uint8Array, at: number): boolean {
  let count = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === DASH && count >= 8 && count <= 20 && count % 4 === 0 && text.charCodeAt(index - 1) !== DASH) continue;
    const digit = DIGIT[code] ?? -1;
    if (digit < 0 || count === 32) return false;
    const byte = at + (count >> 1);
    into[byte] = count % 2 === 0 ? digit << 4 : (into[byte] ?? 0) | digit;
    count += 1;
  }
  return count === 32;
}
