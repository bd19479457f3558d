/** Reasons that lie in hosts, the connection between them, and the machine that the guest is given. */
import {
  otherUuid,
  disk,
  shared,
  makeImage,
  virsh,
  define,
  portRule,
  pretendHardware,
  loginUri,
  hideCertificates,
} from "./migration-row-part.ts";
import { domainXml, onHost, pretend, type MigrationRow } from "./migration-row.ts";

export const machineRows: readonly MigrationRow[] = [
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
    check: "guest",
    severity: "error",
    what: "a transient VM",
    words: /VM row is transient/,
    transient: true,
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
    what: "a login that the source does not have",
    words: /h1 can't reach host h2 .*authentication failed/,
    remedy: /auth\.conf.*\[auth-libvirt-[\d.]+\]/,
    before: (scene) => pretend(scene, "h2", () => ({ uri: loginUri(scene) })),
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
    check: "connection",
    severity: "warning",
    what: "encryption, for which the target has no certificates",
    words: /h2 does not have \/etc\/pki\/qemu\/ca-cert.pem, .*server-cert.pem, .*server-key.pem/,
    remedy: /migrate_tls_x509_cert_dir/,
    live: true,
    request: { encrypt: true },
    before: hideCertificates,
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
    check: "firmware",
    severity: "error",
    what: "a kernel that only the source has",
    words: /boots with the kernel \/run\/row-vmlinuz of its host/,
    live: true,
    os: "<kernel>/run/row-vmlinuz</kernel>",
    before: ({ h1 }) => onHost(h1, "head -c 64K /dev/zero > /run/row-vmlinuz", "rm /run/row-vmlinuz"),
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
];
