/** IPv4 addresses as numbers (RFC 4632), as far as the checks of a new network need them. */
interface Cidr {
  readonly address: number;
  readonly prefix: number;
}

export interface Bounds {
  /** The network's own address. */
  readonly first: number;
  /** Its broadcast address. */
  readonly last: number;
}

export function parseAddress(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)) {
    return undefined;
  }
  return parts.reduce((value, part) => value * 256 + Number(part), 0);
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}

export function parseCidr(text: string): Cidr | undefined {
  const [addressText = "", prefixText = "", ...rest] = text.split("/");
  const address = parseAddress(addressText);
  const prefix = /^\d{1,2}$/.test(prefixText) ? Number(prefixText) : 33;
  return address === undefined || prefix > 32 || rest.length > 0 ? undefined : { address, prefix };
}

export function networkBounds({ address, prefix }: Cidr): Bounds {
  const size = 2 ** (32 - prefix);
  const first = Math.floor(address / size) * size;
  return { first, last: first + size - 1 };
}

/** Whether a machine can have this address in the network: neither its own nor its broadcast address. */
export function isInside(address: number, { first, last }: Bounds): boolean {
  return address > first && address < last;
}
