/**
 * Sets of CPU or node numbers as libvirt writes them, `0-3,8,^2` (libvirt 9.0 virBitmapParse). Reading a set that is
 * not well-formed answers undefined.
 */

/** Far above any machine; bounds the memory that a hostile range can take. */
const numberMax = 65_535;

export function parseCpuSet(value: string): number[] | undefined {
  const numbers = new Set<number>();
  for (const part of value.split(",")) {
    const match = /^\s*(\^)?([0-9]{1,6})(?:-([0-9]{1,6}))?\s*$/.exec(part);
    if (match === null) return undefined;
    const first = Number(match[2]);
    const last = match[3] === undefined ? first : Number(match[3]);
    if (last < first || last > numberMax) return undefined;
    for (let number = first; number <= last; number++) {
      if (match[1] === undefined) numbers.add(number);
      else numbers.delete(number);
    }
  }
  return [...numbers].sort((left, right) => left - right);
}

/** Bytes of a CPU map as libvirt's calls take it: bit n of byte n/8 is CPU n (virDomainPinVcpuFlags). */
export function cpuMap(numbers: readonly number[], cpuCount: number): Uint8Array {
  const map = new Uint8Array(Math.ceil(cpuCount / 8));
  for (const number of numbers) {
    const byte = map[number >> 3];
    if (byte !== undefined) map[number >> 3] = byte | (1 << (number & 7));
  }
  return map;
}
