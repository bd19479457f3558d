/**
 * Reasons for which a VM can't move that no two hosts on one machine can make: they need devices that can be passed
 * through, other CPUs, larger memory, storage that fails. The facts are as a lab's host reports them (libvirt 9.0, QEMU
 * 7.2), with what is named changed.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { FindingSeverity, MigrationCheckName } from "@innkeeper/contract/resource/migration.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import { Fleet } from "#management/test-support/fleet.ts";
import type { MigrationReception, MigrationTraits, TiedDevice } from "#virtualization/migration/port.ts";
import { migrationFindings } from "./migration-check.ts";
import { knownFacts, type MigrationFacts } from "./migration-fact.ts";

const traits: MigrationTraits = {
  xml: "<domain/>",
  job: undefined,
  blockJobs: [],
  checkpointCount: 0,
  cpuMode: "custom",
  hostCpuXml: undefined,
  stateFiles: [],
  devices: [],
  secrets: [],
  interfaces: [],
  loader: undefined,
  bootFiles: [],
  listeners: [],
  hostAddresses: ["10.0.0.1"],
  ownNvram: undefined,
  tpm: "none",
  strictNodes: [],
};
const reception: MigrationReception = {
  machineProblem: undefined,
  vcpuMax: 288,
  cpu: { result: "identical", detail: "" },
  loaders: ["/usr/share/OVMF/OVMF_CODE_4M.fd"],
  tpm: true,
  definitionProblem: undefined,
  guests: [],
  interfaces: ["br0", "virbr0"],
  secrets: [],
  hostAddresses: ["10.0.0.2"],
  listeners: [],
  cpus: [0, 1, 2, 3, 4, 5, 6, 7],
  nodes: [{ id: 0, freeMiB: 7996 }],
  pages: [
    { sizeKiB: 4, free: 2_046_996 },
    { sizeKiB: 2048, free: 0 },
  ],
  port: { number: 49_215, state: "open" },
};

interface Row {
  readonly what: string;
  readonly check: MigrationCheckName;
  readonly severity: FindingSeverity;
  readonly words: RegExp;
  readonly vm?: Partial<Vm>;
  readonly spec?: Partial<VmSpec>;
  readonly traits?: Partial<MigrationTraits>;
  readonly reception?: Partial<MigrationReception>;
  readonly facts?: Partial<MigrationFacts>;
}

const tied = (kind: TiedDevice["kind"], words: RegExp, severity: FindingSeverity = "error"): Row => ({
  what: `device: ${kind}`,
  check: "device",
  severity,
  words,
  traits: { devices: [{ kind, device: "thing" }] },
});

const rows: readonly Row[] = [
  tied("host-device", /thing is passed through .* stays there/),
  tied("failover-device", /goes on over its virtio partner/, "warning"),
  tied("vdpa", /vDPA/),
  tied("vhost-user", /through a socket/, "warning"),
  tied("virtiofs", /virtiofs/),
  tied("persistent-memory", /persistent memory/, "warning"),
  tied("encrypted-memory", /can't read/),
  tied("lun", /the same one under the same path/, "warning"),
  tied("invariant-tsc", /invtsc/),
  tied("nvme-disk", /target's at the same PCI address would be written to/),
  {
    ...tied("nvme-disk", /NVMe device of its host/),
    what: "an NVMe disk of one that is off",
    vm: { state: "shutoff" },
  },
  tied("host-disk", /another one's content/),
  {
    what: "an address of its host",
    check: "port",
    severity: "error",
    words: /graphics vnc listens on 10.0.0.1, which is an address of host h1/,
    traits: { listeners: [{ kind: "graphics", device: "graphics vnc", address: "10.0.0.1", port: undefined }] },
  },
  {
    what: "an address that nobody tells of",
    check: "port",
    severity: "warning",
    words: /listens on 192.0.2.7; whether host h2 has this address can't be seen/,
    traits: { listeners: [{ kind: "tcp", device: "serial", address: "192.0.2.7", port: 4555 }] },
  },
  {
    what: "a port that another VM has",
    check: "port",
    severity: "error",
    words: /serial has the fixed port 4555, which console of VM other has/,
    traits: { listeners: [{ kind: "tcp", device: "serial", address: "127.0.0.1", port: 4555 }] },
    reception: {
      listeners: [{ guest: "other", kind: "tcp", device: "console", address: undefined, port: 4555 }],
    },
  },
  {
    what: "a port that another VM has, while it is off",
    check: "port",
    severity: "warning",
    words: /fixed port 5901/,
    vm: { state: "shutoff" },
    traits: { listeners: [{ kind: "graphics", device: "graphics vnc", address: "127.0.0.1", port: 5901 }] },
    reception: {
      listeners: [{ guest: "other", kind: "graphics", device: "graphics spice", address: "10.0.0.2", port: 5901 }],
    },
  },
  {
    what: "a host that does not tell of its certificates",
    check: "connection",
    severity: "info",
    words: /Whether host h2 has QEMU's certificates .* can't be seen/,
    facts: { missingCertificates: { source: [], target: undefined } },
  },
  {
    what: "a kernel that the target has, too",
    check: "firmware",
    severity: "warning",
    words: /a file of that path, which may be another one/,
    facts: { ownBootFiles: [{ kind: "kernel", path: "/srv/local/vmlinuz", fileThere: true }] },
  },
  {
    what: "a kernel of its host, of one that is off",
    check: "firmware",
    severity: "warning",
    words: /nothing says that host h2 has it/,
    vm: { state: "shutoff" },
    facts: { ownBootFiles: [{ kind: "kernel", path: "/srv/local/vmlinuz", fileThere: false }] },
  },
  {
    what: "storage that failed",
    check: "guest",
    severity: "error",
    words: /its storage failed/,
    vm: { state: "paused", stateDetail: "I/O error" },
  },
  {
    what: "a state in which nothing moves",
    check: "guest",
    severity: "error",
    words: /is pmsuspended and can't be migrated/,
    vm: { state: "pmsuspended" },
  },
  {
    what: "a transient VM",
    check: "guest",
    severity: "error",
    words: /is transient/,
    vm: { persistent: false },
  },
  {
    what: "what only its host knows",
    check: "guest",
    severity: "error",
    words: /does not let VM web1 go: cannot migrate domain: State blocked/,
    facts: { contact: { result: "refused", detail: "cannot migrate domain: State blocked by device 'x'" } },
  },
  {
    what: "a target that does not answer",
    check: "host",
    severity: "error",
    words: /h2 could not be examined: .*15 s/,
    facts: { unasked: new AppError("timeout", "Can't ask what the host offers: the host did not answer within 15 s.") },
  },
  {
    what: "a machine type that the target's libvirt refuses",
    check: "machine",
    severity: "error",
    words: /h2: This host can't run VMs of type kvm/,
    reception: { machineProblem: "This host can't run VMs of type kvm, machine pc-q35-7.2" },
  },
  {
    what: "more vCPUs than the machine type takes",
    check: "machine",
    severity: "error",
    words: /at most 1 on host h2/,
    reception: { vcpuMax: 1 },
  },
  {
    what: "the CPU of its host, and a lesser one there",
    check: "cpu",
    severity: "error",
    words: /lacks features of it: .*avx512f/,
    spec: { cpu: { count: 2, model: "host-passthrough" } },
    traits: { cpuMode: "host-passthrough", hostCpuXml: "<cpu/>" },
    reception: { cpu: { result: "incompatible", detail: "Host CPU does not provide required features: avx512f" } },
  },
  {
    what: "the CPU of its host, and a larger one there",
    check: "cpu",
    severity: "warning",
    words: /is not the same/,
    spec: { cpu: { count: 2, model: "host-passthrough" } },
    traits: { cpuMode: "host-passthrough", hostCpuXml: "<cpu/>" },
    reception: { cpu: { result: "superset", detail: "" } },
  },
  {
    what: "a CPU model that a host which can't compare does not name",
    check: "cpu",
    severity: "error",
    words: /CPU model POWER9/,
    spec: { cpu: { count: 2, model: "POWER9" } },
    reception: { cpu: { result: "unknown", detail: "not supported for arch ppc64le" } },
  },
  {
    what: "a balloon that may grow",
    check: "memory",
    severity: "warning",
    words: /enough for the 512 MiB that the VM has now \(balloon\), not for the 2048 MiB/,
    spec: { memory: { sizeMiB: 2048, balloonMiB: 512 } },
    facts: { memoryFreeMiB: 1000 },
  },
  {
    what: "huge pages that are in use",
    check: "memory",
    severity: "error",
    words: /0 free pages of 2048 KiB; the VM needs 1024/,
    spec: { memory: { sizeMiB: 2048, hugepageKiB: 2048 } },
  },
  {
    what: "huge pages of a size that is not there",
    check: "memory",
    severity: "error",
    words: /no memory pages of 16384 KiB/,
    spec: { memory: { sizeMiB: 2048, hugepageKiB: 16_384 } },
  },
  {
    what: "a node without enough memory",
    check: "numa",
    severity: "warning",
    words: /NUMA node 0 of host h2 has 100 MiB free .* takes 2048 MiB/,
    traits: { strictNodes: [0] },
    reception: { nodes: [{ id: 0, freeMiB: 100 }] },
  },
  {
    what: "a host that does not list its bridges",
    check: "network",
    severity: "warning",
    words: /is on br0; host h2 does not tell/,
    traits: { interfaces: [{ mac: "52:54:00:00:00:09", name: "br0", isBridge: true }] },
    reception: { interfaces: undefined },
  },
];

test("what a guest listens on is no matter where the target has it, or nobody else does", async () => {
  await using fleet = await Fleet.open();
  const h1 = await fleet.host("h1");
  const h2 = await fleet.host("h2");
  const vm = await fleet.vm(h1, "web1", { state: "running" });
  const listeners: MigrationTraits["listeners"] = [
    { kind: "graphics", device: "graphics vnc", address: "10.0.0.2", port: 5901 },
    { kind: "tcp", device: "serial", address: "127.0.0.1", port: 4555 },
    { kind: "tcp", device: "channel", address: "192.168.122.1", port: 4556 },
  ];
  const there: MigrationReception["listeners"] = [
    { guest: "other", kind: "graphics", device: "graphics vnc", address: "192.168.122.1", port: 5902 },
    { guest: "other", kind: "udp", device: "serial", address: "127.0.0.1", port: 4555 },
    { guest: "other", kind: "tcp", device: "serial", address: "10.0.0.2", port: 4555 },
  ];
  const asked = { traits: { ...traits, listeners }, reception: { ...reception, listeners: there } };
  const contact = { result: "reached", detail: "" } as const;
  assert.deepEqual(migrationFindings({ ...knownFacts(fleet.inventory, vm, h2, {}), ...asked, contact }), []);
});

describe("a migration is not told to be fine", () => {
  for (const row of rows) {
    test(row.what, async () => {
      await using fleet = await Fleet.open();
      const h1 = await fleet.host("h1");
      const h2 = await fleet.host("h2");
      const specChange = row.spec ?? {};
      const vm = await fleet.vm(h1, "web1", { state: "running", ...row.vm, specChange });
      const asked = { traits: { ...traits, ...row.traits }, reception: { ...reception, ...row.reception } };
      const contact = { result: "reached", detail: "" } as const;
      const facts = { ...knownFacts(fleet.inventory, vm, h2, {}), ...asked, contact, ...row.facts };
      const findings = migrationFindings(facts);
      const [found, ...others] = findings;
      assert(found !== undefined);
      assert.deepEqual([found.check, found.severity, others], [row.check, row.severity, []]);
      assert.match(found.message, row.words);
      assert(found.severity === "info" || found.remedy.length > 10);
    });
  }
});
