/**
 * The pre-flight of a migration on two real hosts: each row makes a VM unfit to move, or questionable, for one reason, and
 * must be told exactly that one, and what to do. What one machine's hosts can't differ in (CPU makers, versions of QEMU and
 * libvirt, its size) is pretended in a host's document, or is a row of management/vm/migration-check.test.ts.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import { AppError } from "#core/app-error.ts";
import { ControlPlane, labAccess } from "./test-support/control-plane.ts";
import { labState } from "./test-support/lab-state.ts";
import {
  domainXml,
  examineRow,
  type MigrationRow,
  onHost,
  pretend,
  type Scene,
  type Undo,
} from "./test-support/migration-row.ts";

const mac = "52:54:00:0a:0b:0c";
const otherUuid = "11111111-2222-4333-8444-555555555555";
const secretUuid = "aaaaaaaa-2222-4333-8444-555555555555";
const nic = (type: string, source: string): string =>
  `<interface type='${type}'><mac address='${mac}'/><source ${source}/><model type='virtio'/></interface>`;
const disk = (file: string, more = "", format = "qcow2", device = "disk", driver = ""): string =>
  `<disk type='file' device='${device}'><driver name='qemu' type='${format}' ${driver}/><source file='${file}'/><target dev='${device === "disk" ? "vda" : "sda"}' bus='${device === "disk" ? "virtio" : "sata"}'/>${more}</disk>`;
const onLab = (): string => nic("network", "network='lab'");
const local = "/var/lib/libvirt/images/row.qcow2";
const shared = ({ lab }: Scene): string => path.join(lab.sharedFolder, "row.qcow2");
const refreshLocal = async ({ plane }: Scene): Promise<void> => {
  for (const { id } of plane.inventory.list("host")) {
    await plane.deps.hostSync.syncPool(id, "local", { signal: AbortSignal.timeout(60_000) });
  }
};
const makeImage = (file: string) => `qemu-img create -q -f qcow2 ${file} 16M`;
const localImage =
  (hosts: readonly ("h1" | "h2")[]) =>
  async (scene: Scene): Promise<Undo> => {
    for (const name of hosts) await scene[name].exec(["sh", "-c", makeImage(local)]);
    await refreshLocal(scene);
    return async () => {
      for (const name of hosts) await scene[name].exec(["rm", "-f", local]);
      await refreshLocal(scene);
    };
  };
const virsh = (line: string): string => `virsh -q ${line}`;
const define = (kind: string, xml: string): string =>
  `printf '%s' "${xml.replaceAll('"', "'")}" | virsh -q ${kind} /dev/stdin`;
const portRule = "INPUT --protocol tcp --dport 49152:49215 --jump DROP";
const totalMiB = ({ plane }: Scene): number => plane.host("h1").hardware?.memoryMiB ?? 0;

const rows: readonly MigrationRow[] = [
  {
    check: "host",
    severity: "error",
    what: "a host in maintenance",
    words: /h2 is in maintenance/,
    before: (scene) => pretend(scene, "h2", () => ({ maintenance: true })),
  },
  {
    check: "guest",
    severity: "error",
    what: "saved memory",
    words: /memory saved/,
    live: true,
    after: ({ h1 }) => onHost(h1, virsh("managedsave row"), "true"),
  },
  {
    check: "guest",
    severity: "error",
    what: "another job",
    words: /Another job works on VM row: backup/,
    live: true,
    devices: (scene) => disk(shared(scene)),
    before: async (scene) => onHost(scene.h1, makeImage(shared(scene)), `rm -f ${shared(scene)}*`),
    after: ({ h1 }) => {
      const backup = "<domainbackup mode='pull'><server transport='unix' socket='/run/row.sock'/></domainbackup>";
      return onHost(
        h1,
        `echo "${backup}" > /run/backup.xml; ${virsh("backup-begin row /run/backup.xml")}`,
        virsh("domjobabort row"),
      );
    },
  },
  {
    check: "guest",
    severity: "error",
    what: "a block job",
    words: /block job .* works on disk vda/,
    live: true,
    devices: (scene) => disk(shared(scene)),
    before: async (scene) => {
      await scene.h1.exec(["sh", "-c", makeImage(shared(scene))]);
      return () => scene.h1.exec(["rm", "-f", shared(scene), `${shared(scene)}.copy`]);
    },
    after: (scene) =>
      onHost(
        scene.h1,
        virsh(`blockcopy row vda --dest ${shared(scene)}.copy --transient-job`),
        virsh("blockjob row vda --abort"),
      ),
  },
  {
    check: "guest",
    severity: "error",
    what: "post-copy of a paused guest",
    words: /is paused: post-copy/,
    live: true,
    request: { postCopy: true },
    after: async ({ h1, plane }, vm) => {
      const undo = await onHost(h1, virsh("suspend row"), "true");
      await plane.deps.hostSync.syncVm(vm.hostId, vm.uuid, { signal: AbortSignal.timeout(30_000) });
      return undo;
    },
  },
  {
    check: "identity",
    severity: "error",
    what: "a VM of the same name",
    words: /another VM named row/,
    before: ({ h2 }) => onHost(h2, define("define", domainXml(otherUuid, {}, "")), virsh("undefine row")),
  },
  {
    check: "identity",
    severity: "error",
    what: "a left-over definition",
    words: /another VM with the UUID/,
    after: ({ h2 }, { uuid }) =>
      onHost(
        h2,
        define("define", domainXml(uuid, {}, "").replace("<name>row<", "<name>stale<")),
        virsh("undefine stale"),
      ),
  },
  {
    check: "connection",
    severity: "error",
    what: "a host behind a local socket",
    words: /local socket/,
    before: (scene) => pretend(scene, "h2", () => ({ uri: "qemu:///system" })),
  },
  {
    check: "connection",
    severity: "error",
    what: "a name that the source does not know",
    words: /h1 can't reach host h2 .*elsewhere/,
    before: (scene) => pretend(scene, "h2", () => ({ uri: "qemu+tls://elsewhere/system" })),
  },
  {
    check: "connection",
    severity: "error",
    what: "a port where nobody listens",
    words: /h1 can't reach host h2 .*refused/,
    live: true,
    before: (scene) => pretend(scene, "h2", () => ({ uri: `qemu+tls://${scene.h2.address}:1/system` })),
  },
  {
    check: "connection",
    severity: "error",
    what: "a certificate for another name",
    words: /h1 can't reach host h2 .*certificate/i,
    before: async (scene) => {
      const undo = await pretend(scene, "h2", () => ({ uri: "qemu+tls://alias/system" }));
      await scene.h1.exec(["sh", "-c", `echo '${scene.h2.address} alias' >> /etc/hosts`]);
      return undo;
    },
  },
  {
    check: "connection",
    severity: "error",
    what: "an authority that the source does not trust",
    words: /h1 can't reach host h2 .*certificate/i,
    live: true,
    before: ({ h1 }) => {
      const ca = "/etc/pki/CA/cacert.pem";
      const make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=other -days 2";
      return onHost(h1, `cp ${ca} ${ca}.kept && ${make} -out ${ca} 2>/dev/null`, `mv ${ca}.kept ${ca}`);
    },
  },
  {
    check: "connection",
    severity: "error",
    what: "a network between the hosts that swallows everything",
    words: /h1 can't reach host h2 .*no answer/,
    after: async ({ h1, h2 }) => {
      await h1.cutOff(h2.address);
      return () => h1.rejoin(h2.address);
    },
  },
  {
    check: "port",
    severity: "warning",
    what: "migration ports behind a packet filter",
    words: /Port 49215 of host h2/,
    live: true,
    before: ({ h2 }) => onHost(h2, `iptables -I ${portRule}`, `iptables -D ${portRule}`),
  },
  {
    check: "machine",
    severity: "error",
    what: "a machine type that the target's QEMU does not have (pretended: one QEMU is installed)",
    words: /no machine type pc-q35-7.2/,
    before: (scene) => pretendHardware(scene, { machineTypes: ["pc-q35-6.2"] }),
  },
  {
    check: "machine",
    severity: "error",
    what: "a domain type that the target does not run (pretended: the kernel is the same)",
    words: /can't run guests of type qemu/,
    before: (scene) => pretendHardware(scene, { domainTypes: ["kvm"] }),
  },
  {
    check: "machine",
    severity: "warning",
    what: "more vCPUs than the target has CPUs",
    words: /has 8 vCPUs/,
    vcpus: "<vcpu>8</vcpu>",
  },
  {
    check: "cpu",
    severity: "error",
    what: "CPU features that the target lacks (libvirt's compare)",
    words: /can't give the VM its CPU: .*(avx512f|incompatible)/i,
    parts: "<cpu mode='custom' match='exact'><model>qemu64</model><feature policy='require' name='avx512f'/></cpu>",
  },
  {
    check: "cpu",
    severity: "warning",
    what: "the emulator's own CPU, of another QEMU (pretended)",
    words: /QEMU 99.0.0, whose may differ/,
    live: true,
    parts: "<cpu mode='maximum'/>",
    before: (scene) => pretendHardware(scene, { hypervisorVersion: "99.0.0" }),
  },
  {
    check: "firmware",
    severity: "error",
    what: "firmware variables outside of libvirt's folder",
    words: /variables in \/srv\/own_VARS.fd/,
    os: "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram>/srv/own_VARS.fd</nvram>",
  },
  {
    check: "firmware",
    severity: "error",
    what: "a firmware image that only the source has",
    words: /no firmware image \/run\/row_CODE.fd/,
    os: "<loader readonly='yes' type='pflash'>/run/row_CODE.fd</loader>",
    before: ({ h1 }) => onHost(h1, "cp /usr/share/OVMF/OVMF_CODE_4M.fd /run/row_CODE.fd", "rm /run/row_CODE.fd"),
  },
  {
    check: "tpm",
    severity: "error",
    what: "the TPM of its host",
    words: /uses the TPM of its host/,
    devices: () => "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>",
  },
  {
    check: "tpm",
    severity: "error",
    what: "a target without a TPM emulator (pretended: swtpm is installed)",
    words: /h2 has no TPM emulator/,
    devices: () => "<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>",
    before: (scene) => pretendHardware(scene, { tpmSupported: false }),
  },
  {
    check: "device",
    severity: "warning",
    what: "a PCI device of its host, while it is off",
    words: /Device pci 0000:06:00.0 is passed through/,
    devices: () =>
      "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='6' slot='0' function='0'/></source></hostdev>",
  },
  {
    check: "device",
    severity: "warning",
    what: "a folder of its host",
    words: /Device data is a folder of its host \(9p\)/,
    live: true,
    devices: () => "<filesystem type='mount'><source dir='/srv'/><target dir='data'/></filesystem>",
  },
  {
    check: "device",
    severity: "error",
    what: "memory shared with others",
    words: /Device common is memory that the VM shares/,
    live: true,
    devices: () => "<shmem name='common' role='peer'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>",
  },
  {
    check: "device",
    severity: "warning",
    what: "a device file of its host",
    words: /Device \/dev\/null is a device file/,
    live: true,
    devices: () => "<serial type='dev'><source path='/dev/null'/></serial>",
  },
  {
    check: "disk",
    severity: "error",
    what: "a disk that is not shared",
    words: /Disk vda .*h2 does not reach it/,
    devices: () => disk(local),
    before: localImage(["h1"]),
  },
  {
    check: "disk",
    severity: "info",
    what: "a disk that is copied",
    words: /Disk vda .*is copied: up to /,
    live: true,
    request: { copyDisks: true },
    devices: () => disk(local),
    before: localImage(["h1"]),
  },
  {
    check: "disk",
    severity: "error",
    what: "a copy whose name is taken",
    words: /h2 has another file of that name/,
    request: { copyDisks: true },
    devices: () => disk(local),
    before: localImage(["h1", "h2"]),
  },
  {
    check: "disk",
    severity: "error",
    what: "a copy for which the target has no pool",
    words: /no running pool at the same path/,
    request: { copyDisks: true },
    devices: () => disk("/run/row.qcow2"),
    before: ({ h1 }) => onHost(h1, makeImage("/run/row.qcow2"), "rm /run/row.qcow2"),
  },
  {
    check: "disk",
    severity: "error",
    what: "a medium that is not shared",
    words: /Disk sda .*h2 does not reach it/,
    devices: () => disk("/run/row.iso", "<readonly/>", "raw", "cdrom"),
    before: ({ h1 }) => onHost(h1, "truncate -s 1M /run/row.iso", "rm /run/row.iso"),
  },
  {
    check: "disk",
    severity: "error",
    what: "a shared disk with cache mode unsafe",
    words: /cache mode unsafe/,
    live: true,
    devices: (scene) => disk(shared(scene), "", "qcow2", "disk", "cache='unsafe'"),
    before: async (scene) => onHost(scene.h1, makeImage(shared(scene)), `rm -f ${shared(scene)}`),
  },
  {
    check: "device",
    severity: "error",
    what: "a transient disk",
    words: /Device vda is transient/,
    live: true,
    devices: (scene) => disk(shared(scene), "<transient/>"),
    before: async (scene) => onHost(scene.h1, makeImage(shared(scene)), `rm -f ${shared(scene)}*`),
  },
  {
    check: "snapshot",
    severity: "error",
    what: "snapshots in libvirt's keeping",
    words: /snapshots in libvirt's own keeping/,
    devices: (scene) => disk(shared(scene)),
    before: async (scene) => onHost(scene.h1, makeImage(shared(scene)), `rm -f ${shared(scene)}`),
    after: async ({ h1, plane }, vm) => {
      const undo = await onHost(h1, virsh("snapshot-create-as row s1"), virsh("snapshot-delete row s1"));
      await plane.deps.hostSync.syncVm(vm.hostId, vm.uuid, { signal: AbortSignal.timeout(30_000) });
      return undo;
    },
  },
  {
    check: "snapshot",
    severity: "info",
    what: "backup checkpoints",
    words: /1 backup checkpoint stay/,
    live: true,
    devices: (scene) => disk(shared(scene)),
    before: async (scene) => onHost(scene.h1, makeImage(shared(scene)), `rm -f ${shared(scene)}`),
    after: ({ h1 }) => onHost(h1, virsh("checkpoint-create-as row c1"), virsh("checkpoint-delete row c1")),
  },
  {
    check: "secret",
    severity: "error",
    what: "a secret that only the source has",
    words: new RegExp(`secret ${secretUuid}, which vda needs`),
    devices: (scene) =>
      disk(shared(scene), `<encryption format='luks'><secret type='passphrase' uuid='${secretUuid}'/></encryption>`),
    before: async (scene) => {
      const secret = `<secret ephemeral='no' private='yes'><uuid>${secretUuid}</uuid></secret>`;
      const make = `${makeImage(shared(scene))}; ${define("secret-define", secret)}`;
      return onHost(scene.h1, make, `rm -f ${shared(scene)}; virsh -q secret-undefine ${secretUuid}`);
    },
  },
  {
    check: "network",
    severity: "error",
    what: "a network that the target does not have",
    words: /h2 has no network dmz/,
    devices: () => nic("network", "network='dmz'"),
  },
  {
    check: "network",
    severity: "error",
    what: "a network that the target has not started",
    words: /h2 has not started its network dmz/,
    devices: () => nic("network", "network='dmz'"),
    before: ({ h2 }) =>
      onHost(h2, define("net-define", "<network><name>dmz</name></network>"), virsh("net-undefine dmz")),
  },
  {
    check: "network",
    severity: "error",
    what: "a network whose bridge the target does not have",
    words: /dmz of host h2 is on bridge br7/,
    devices: () => nic("network", "network='dmz'"),
    before: ({ h2 }) => {
      const xml = "<network><name>dmz</name><forward mode='bridge'/><bridge name='br7'/></network>";
      const down = `${virsh("net-destroy dmz")}; ${virsh("net-undefine dmz")}`;
      return onHost(h2, `${define("net-define", xml)}; ${virsh("net-start dmz")}`, down);
    },
  },
  {
    check: "network",
    severity: "error",
    what: "a bridge that the target does not have",
    words: /h2 has no bridge br9/,
    live: true,
    devices: () => nic("bridge", "bridge='br9'"),
    before: ({ h1 }) => onHost(h1, "ip link add br9 type bridge; ip link set br9 up", "ip link delete br9"),
  },
  {
    check: "network",
    severity: "warning",
    what: "a device that the target does not tell of",
    words: /is on eth7; host h2 does not tell/,
    devices: () => nic("direct", "dev='eth7' mode='bridge'"),
  },
  {
    check: "memory",
    severity: "error",
    what: "more memory than the target has free",
    words: /h2 has \d+ MiB of memory free; the VM needs \d+ MiB/,
    live: true,
    memoryMiB: (scene) => totalMiB(scene) - 64,
  },
  {
    check: "memory",
    severity: "error",
    what: "more memory than the target has in all",
    words: /of memory in all/,
    memoryMiB: 1 << 20,
  },
  {
    check: "memory",
    severity: "warning",
    what: "memory that is promised to more than can have it",
    words: /has promised \d+ MiB to running VMs/,
    live: true,
    before: async (scene) => {
      const { h2, plane } = scene;
      const xml = domainXml(otherUuid, { memoryMiB: totalMiB(scene) }, "").replace("<name>row<", "<name>big<");
      const undo = await onHost(h2, define("create", xml), virsh("destroy big"));
      const sync = () =>
        plane.deps.hostSync.syncVm(plane.host("h2").id, otherUuid, { signal: AbortSignal.timeout(30_000) });
      await sync();
      return async () => {
        await undo();
        await sync();
      };
    },
  },
  {
    check: "memory",
    severity: "warning",
    what: "huge pages that the target has not reserved",
    words: /0 free pages of 1048576 KiB; the VM needs 1/,
    memoryMiB: 1024,
    parts: "<memoryBacking><hugepages><page size='1' unit='G'/></hugepages></memoryBacking>",
  },
  {
    check: "numa",
    severity: "error",
    what: "CPUs that the target does not have",
    words: /pinned to CPU 63/,
    vcpus: "<vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='63'/></cputune>",
  },
  {
    check: "numa",
    severity: "error",
    what: "a NUMA node that the target does not have",
    words: /NUMA node 7, which/,
    parts: "<numatune><memory mode='strict' nodeset='7'/></numatune>",
  },
  {
    check: "version",
    severity: "warning",
    what: "an older libvirt (pretended: one is installed)",
    words: /libvirt 8.0.0, older than/,
    live: true,
    before: (scene) => pretendHardware(scene, { libvirtVersion: "8.0.0" }),
  },
  {
    check: "definition",
    severity: "error",
    what: "an emulator that only the source has",
    words: /refuses the VM's definition: .*\/run\/qemu-row/,
    live: true,
    emulator: "/run/qemu-row",
    before: ({ h1 }) => onHost(h1, "ln -s $(command -v qemu-system-x86_64) /run/qemu-row", "rm /run/qemu-row"),
  },
];

function pretendHardware(scene: Scene, change: object): Promise<Undo> {
  return pretend(scene, "h2", ({ hardware }) =>
    hardware === undefined ? {} : { hardware: { ...hardware, ...change } },
  );
}

describe("the pre-flight of a migration", { timeout: 900_000 }, () => {
  let scene: Scene;
  let folder: string;

  before(async () => {
    const lab = await Lab.up({ name: `migcheck-${process.pid}`, hostCount: 2 });
    folder = await mkdtemp(path.join(tmpdir(), "inn-migcheck-"));
    const plane = await ControlPlane.open({ folder, access: await labAccess(lab) });
    scene = { lab, plane, h1: lab.host("h1"), h2: lab.host("h2") };
  });

  after(async () => {
    await scene?.plane[Symbol.asyncDispose]();
    await scene?.lab.down();
    await rm(folder, { recursive: true, force: true });
  });

  for (const live of [{ live: true }, {}] as const) {
    test(`has nothing against a VM that ${"live" in live ? "runs" : "is off"}, and leaves no trace`, async () => {
      const state = await labState(scene.lab);
      const row = { check: "host", severity: "info", what: "", words: /./, ...live } as const;
      assert.partialDeepStrictEqual(await examineRow(scene, { ...row, devices: onLab }), {
        verdict: "ok",
        findings: [],
      });
      assert.deepEqual(await labState(scene.lab), state);
    });
  }

  for (const row of rows) {
    test(`tells: ${row.what}`, async () => {
      const report = await examineRow(scene, row);
      const told = JSON.stringify(report.findings, undefined, 1);
      assert.equal(report.verdict, row.severity === "info" ? "ok" : row.severity, told);
      const found = report.findings.find(({ check, severity }) => check === row.check && severity === row.severity);
      assert(found !== undefined, told);
      assert.match(found.message, row.words);
      assert(row.severity === "info" || found.remedy.length > 10, told);
      const others = report.findings.filter(({ check, severity }) => check !== row.check && severity !== "info");
      assert.deepEqual(others, []);
    });
  }

  test("refuses the migration itself with the same findings, before anything is touched", async () => {
    const { lab, plane, h1 } = scene;
    await h1.exec(["sh", "-c", define("define", domainXml(otherUuid, {}, nic("network", "network='dmz'")))]);
    const call = { signal: AbortSignal.timeout(60_000) };
    await plane.deps.hostSync.syncVm(plane.host("h1").id, otherUuid, call);
    const rowId = plane.vm("row").id;
    const state = await labState(lab);
    const input = { vmId: rowId, request: { host: "h2" } };
    await assert.rejects(plane.run("vm.migrate", input), (error: unknown) => {
      assert(error instanceof AppError);
      assert.partialDeepStrictEqual(error.fault, { findings: [{ check: "network", severity: "error", device: mac }] });
      return true;
    });
    const cpu =
      "<cpu mode='custom' match='exact'><model>qemu64</model><feature policy='require' name='avx512f'/></cpu>";
    await h1.exec(["sh", "-c", define("define", domainXml(otherUuid, { parts: cpu }, ""))]);
    await plane.deps.hostSync.syncVm(plane.host("h1").id, otherUuid, call);
    const task = await plane.run("vm.migrate", input);
    assert.equal(task.state, "failed");
    assert.partialDeepStrictEqual(task.error?.fault, { findings: [{ check: "cpu", severity: "error" }] });
    assert.match(task.error?.remedy ?? "", /CPU model that both hosts have/);
    assert.deepEqual(await labState(lab), state);
    await h1.exec(["virsh", "-q", "undefine", "row"]);
  });

  test("tells that a host is gone", async () => {
    const { plane, h2 } = scene;
    await h2.killLibvirtd();
    const signal = AbortSignal.timeout(60_000);
    for await (const _change of plane.inventory.changes(0, signal)) {
      if (plane.host("h2").connectionState === "unreachable") break;
    }
    const row = { check: "host", severity: "error", what: "", words: /./ } as const;
    const { findings } = await examineRow(scene, row);
    assert.match(findings[0]?.message ?? "", /h2 is not connected \(unreachable\)/);
  });
});
