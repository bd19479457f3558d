/** Each reason for which a VM can't move is found before anything moves, and says what to do. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { MigrationFinding } from "@innkeeper/contract/resource/migration.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { AppError } from "#core/app-error.ts";
import { Fleet, fleetDisk } from "#management/test-support/fleet.ts";
import { migrationFindings, migrationReport, requireMovable } from "./migration-check.ts";
import { knownFacts, type MoveRequest } from "./migration-fact.ts";
import { migrationUri } from "./migration-uri.ts";

interface Situation {
  readonly fleet: Fleet;
  readonly h1: Host;
  readonly vm: Vm;
  readonly target: Host;
}

async function situation(
  target: Parameters<Fleet["host"]>[1],
  vm: Parameters<Fleet["vm"]>[2] = {},
): Promise<Situation> {
  const fleet = await Fleet.open();
  const h1 = await fleet.host("h1");
  const h2 = await fleet.host("h2", target);
  return { fleet, h1, target: h2, vm: await fleet.vm(h1, "web1", { state: "running", ...vm }) };
}

function findingsOf({ fleet, vm, target }: Situation, request: MoveRequest = {}): MigrationFinding[] {
  return migrationFindings(knownFacts(fleet.inventory, vm, target, request));
}

const local = { specChange: { disks: [fleetDisk("vda", "/srv/local/web1.qcow2")] } };
const rows: readonly [
  what: string,
  target: Parameters<Fleet["host"]>[1],
  vm: Parameters<Fleet["vm"]>[2],
  words: RegExp,
  more?: (situation: Situation) => Promise<unknown>,
][] = [
  ["maintenance", { maintenance: true }, {}, /in maintenance/],
  ["no connection", { connectionState: "unreachable" }, {}, /not connected/],
  ["a local socket", { uri: "qemu:///system" }, {}, /local socket/],
  [
    "too little memory",
    { usage: { memoryFreeMiB: 100, cpuLoadPct: 0, sampledAt: "2026-01-01T00:00:00.000Z" } },
    {},
    /100 MiB of memory free/,
  ],
  ["another machine type", { hardwareChange: { machineTypes: ["q35"] } }, {}, /pc-q35-7.2/],
  ["another CPU", { hardwareChange: { cpuModels: ["qemu64"] } }, {}, /CPU model EPYC/],
  ["no KVM", { hardwareChange: { kvm: { advertised: true, usable: false, detail: "" } } }, {}, /guests of type kvm/],
  ["no UEFI", { hardwareChange: { firmwares: ["bios"] } }, { specChange: { firmware: "uefi" } }, /no uefi firmware/],
  ["no TPM emulator", { hardwareChange: { tpmSupported: false } }, { specChange: { tpm: true } }, /no TPM emulator/],
  ["snapshots of virsh", {}, { foreignSnapshotCount: 1 }, /libvirt's own keeping/],
  ["a name that is taken there", {}, {}, /another VM named web1/, ({ fleet, target }) => fleet.vm(target, "web1")],
  [
    "a network that is not there",
    {},
    { specChange: { nics: [{ mac: "52:54:00:00:00:09", type: "network", network: "dmz" }] } },
    /no network dmz/,
  ],
  ["a disk that is not shared", {}, local, /vda .*does not reach it/],
  [
    "a layer that is not shared",
    {},
    {
      specChange: { disks: [fleetDisk("vda", "/srv/shared/web1.qcow2", { backingChain: ["/srv/local/base.qcow2"] })] },
    },
    /or a layer below it/,
  ],
  [
    "a medium that is not shared",
    {},
    { specChange: { disks: [fleetDisk("sda", "/srv/local/x.iso", { device: "cdrom" })] } },
    /sda .*does not reach it/,
  ],
  [
    "an NVMe device of its host",
    {},
    { specChange: { disks: [{ target: "vda", device: "disk", bus: "virtio", sourceType: "nvme" }] } },
    /vda \(nvme\) is a device or program of its host/,
  ],
  [
    "a layer that is an NVMe device",
    {},
    {
      specChange: {
        disks: [fleetDisk("vda", "/srv/shared/web1.qcow2", { backingChain: ["nvme://0000:06:00.0/1"] })],
      },
    },
    /or a layer below it/,
  ],
  [
    "a socket of its host in a shared folder",
    {},
    {
      specChange: {
        disks: [
          { target: "vda", device: "disk", bus: "virtio", sourceType: "vhostuser", source: "/srv/shared/vda.sock" },
        ],
      },
    },
    /vda .* is a device or program of its host/,
  ],
  [
    "a snapshot that is not shared",
    {},
    {},
    /Snapshot s1 has files/,
    ({ fleet, vm }) =>
      fleet.snapshot(vm, "s1", { disks: [{ target: "vda", path: "/srv/local/web1.qcow2", format: "qcow2" }] }),
  ],
];

describe("a migration", () => {
  for (const [what, target, vm, words, more] of rows) {
    test(`is refused: ${what}`, async () => {
      const made = await situation(target, vm);
      await using _ = made.fleet;
      await more?.(made);
      const findings = findingsOf(made);
      assert.match(findings.map((finding) => finding.message).join("\n"), words);
      assert(findings.every((finding) => finding.remedy.length > 10));
    });
  }

  test("of shared disks is not", async () => {
    const made = await situation({});
    await using _ = made.fleet;
    assert.deepEqual(findingsOf(made), []);
  });

  test("copies disks when it is told to, if there is room for them and no file of their name", async () => {
    const made = await situation({}, local);
    const { fleet, h1, target, vm } = made;
    await using _ = fleet;
    const find = (): string[] =>
      findingsOf(made, { copyDisks: true }).map(({ severity, message }) => `${severity}: ${message}`);
    assert.match(find()[0] ?? "", /^error: .*no storage pool of its host/);
    await fleet.volume(h1, "local", "web1.qcow2");
    assert.deepEqual(find(), ["info: Disk vda (/srv/local/web1.qcow2) is copied: up to 1 GiB."]);
    const report = migrationReport(knownFacts(fleet.inventory, vm, target, { copyDisks: true }));
    assert.deepEqual([report.verdict, report.copyBytes], ["ok", 1024 ** 3]);
    await fleet.volume(target, "local", "web1.qcow2");
    assert.match(find()[0] ?? "", /^error: .*another file of that name/);
  });

  test("has room for all copies that go into one pool, or is refused", async () => {
    const gib = 1024 ** 3;
    const disks = ["vda", "vdb"].map((name) => fleetDisk(name, `/srv/local/${name}.qcow2`));
    const made = await situation({}, { specChange: { disks } });
    const { fleet, h1 } = made;
    await using _ = fleet;
    for (const name of ["vda.qcow2", "vdb.qcow2"]) {
      await fleet.volume(h1, "local", name, { allocationBytes: 30 * gib });
    }
    const [refusal, ...others] = findingsOf(made, { copyDisks: true }).filter(({ severity }) => severity === "error");
    assert.match(refusal?.message ?? "", /^Disks vda, vdb have 60 GiB; pool local of host h2 has 50 GiB free/);
    assert.deepEqual(others, []);
  });

  test("is refused with all that is against it, and what to do about each", async () => {
    const made = await situation({}, { ...local, foreignSnapshotCount: 1 });
    const { fleet, vm, target } = made;
    await using _ = fleet;
    assert.throws(
      () => requireMovable(knownFacts(fleet.inventory, vm, target, {})),
      (error: unknown) => {
        assert(error instanceof AppError);
        assert.deepEqual([error.code, error.field], ["unsupported", "copyDisks"]);
        assert.match(error.message, /vda .*does not reach it.* snapshots in libvirt's own keeping.*Nothing was moved/);
        assert.match(error.remedy ?? "", /copyDisks.*virsh snapshot-list/);
        const { findings = [] } = (error.fault ?? {}) as { findings?: MigrationFinding[] };
        assert.deepEqual(
          findings.map(({ check }) => check),
          ["disk", "snapshot"],
        );
        return true;
      },
    );
  });
});

test("a host's URI for other hosts has neither parameters nor, with certificates, a user", () => {
  assert.equal(uriOf("qemu+tls://10.0.0.2/system?pkipath=/x"), "qemu+tls://10.0.0.2/system");
  assert.equal(uriOf("qemu+tls://me@h2:16514/system"), "qemu+tls://h2:16514/system");
  assert.equal(uriOf("qemu+ssh://root@h2/system"), "qemu+ssh://root@h2/system");
  assert.equal(uriOf("qemu://[fd00::2]/system"), "qemu+tls://[fd00::2]/system");
  assert.equal(uriOf("qemu+unix:///system?socket=/run/x"), undefined);
  assert.equal(uriOf("qemu:///system"), undefined);
});

function uriOf(uri: string): string | undefined {
  return migrationUri({ uri });
}
