// What a simulated machine is made of.

export interface NodeShape {
  readonly sockets: number;
  readonly coresPerSocket: number;
  readonly threadsPerCore: number;
  readonly mhz: number;
  readonly memoryMiB: number;
  /** As libvirt names it (cpu_map), and as the machine does. */
  readonly cpuModel: string;
  readonly cpuVendor: string;
  readonly cpuProduct: string;
  readonly manufacturer: string;
  readonly product: string;
  readonly hasKvm: boolean;
  /** What the machine sends to another per second; a migration has all of it. */
  readonly migrationMiBps: number;
}

/** A server of two sockets, as many are in use. */
export const STANDARD_NODE: NodeShape = {
  sockets: 2,
  coresPerSocket: 16,
  threadsPerCore: 2,
  mhz: 2_600,
  memoryMiB: 262_144,
  cpuModel: "Skylake-Server-IBRS",
  cpuVendor: "Intel",
  cpuProduct: "Intel(R) Xeon(R) Gold 6142 CPU @ 2.60GHz",
  manufacturer: "Innkeeper",
  product: "Simulated Server",
  hasKvm: true,
  migrationMiBps: 1_100,
};

export function cpuCountOf({ sockets, coresPerSocket, threadsPerCore }: NodeShape): number {
  return sockets * coresPerSocket * threadsPerCore;
}
