// IPv4 addresses as numbers, and the subnets of networks.

export interface Subnet {
  readonly address: number;
  readonly prefix: number;
  /** What its DHCP server gives out. */
  readonly dhcp: { readonly start: number; readonly end: number } | undefined;
}

export function parseIpv4(text: string): number | undefined {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/u.exec(text)?.slice(1).map(Number);
  if (parts === undefined || parts.some((part) => part > 255)) return undefined;
  return parts.reduce((value, part) => value * 256 + part, 0);
}

export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}

export function inSubnet(address: number, { address: inside, prefix }: Subnet): boolean {
  const size = 2 ** (32 - prefix);
  return Math.floor(address / size) === Math.floor(inside / size);
}

export function overlap(left: Subnet, right: Subnet): boolean {
  return left.prefix <= right.prefix ? inSubnet(right.address, left) : inSubnet(left.address, right);
}

/** Of an <ip>'s attributes; undefined when it is not IPv4. */
export function subnetOf(
  ip: Readonly<Record<string, string | undefined>>,
  range: { readonly start: string; readonly end: string } | undefined,
): Subnet | undefined {
  const { address: text, netmask, prefix } = ip;
  const address = text === undefined ? undefined : parseIpv4(text);
  if (address === undefined) return undefined;
  const mask = netmask === undefined ? undefined : parseIpv4(netmask);
  const length = prefix === undefined ? (mask === undefined ? classPrefix(address) : maskPrefix(mask)) : Number(prefix);
  const start = range && parseIpv4(range.start);
  const end = range && parseIpv4(range.end);
  const dhcp = start === undefined || end === undefined ? undefined : { start, end };
  return { address, prefix: length, dhcp };
}

function maskPrefix(mask: number): number {
  return 32 - Math.round(Math.log2(2 ** 32 - mask));
}

/** virSocketAddrGetIPPrefix: by the address's class. */
function classPrefix(address: number): number {
  const first = Math.floor(address / 2 ** 24);
  return first < 128 ? 8 : first < 192 ? 16 : 24;
}
