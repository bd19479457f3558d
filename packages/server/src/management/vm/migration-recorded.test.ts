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
import type { MigrationReception, MigrationTraits, TiedDevice } from "#virtualization/port.ts";
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
      assert(found.remedy.length > 10);
    });
  }
});
