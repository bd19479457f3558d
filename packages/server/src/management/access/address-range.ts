/**
 * Whom an address stands for: of IPv6 the /64, which is what one customer or machine has for itself at least (RFC 6177,
 * RFC 4291 §2.5.1), so that it is not a new address with every try; of IPv4 the address, also when it is mapped into IPv6.
 */
import { isIPv6 } from "node:net";

export function addressRange(address: string): string {
  const [bare = ""] = address.split("%", 1);
  if (!isIPv6(bare)) return address;
  const groups = groupsOf(bare);
  const [high = 0, low = 0] = groups.slice(6);
  // RFC 4291 §2.5.5.2: ::ffff:a.b.c.d
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return [high >> 8, high & 255, low >> 8, low & 255].join(".");
  }
  const prefix = groups.slice(0, 4).map((group) => group.toString(16));
  return `${prefix.join(":")}::/64`;
}

/** The eight groups of a valid address. */
function groupsOf(address: string): number[] {
  // The URL parser writes an embedded IPv4 address as groups (WHATWG URL §3.5).
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = "", tail] = canonical.split("::");
  const before = parse(head);
  const after = parse(tail ?? "");
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
}

function parse(part: string): number[] {
  return part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
}
