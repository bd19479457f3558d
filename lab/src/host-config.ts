/**
 * Everything a host of the lab has in /etc before its libvirtd starts for the first time: who it is, its certificates,
 * the daemon's configuration, the networks `default` (libvirt's NAT) and `lab` (the lab's segment), the pools `local`
 * and `shared`. Written once; afterwards the files are the host's, and what is changed on it survives its restarts.
 * Facts: libvirt 9.0 libvirtd.conf, qemu.conf, docs/formatnetwork.rst, docs/formatstorage.rst; the certificate paths
 * are libvirt's and QEMU's defaults (docs/kbase/tlscerts.rst, qemu.conf default_tls_x509_cert_dir).
 */
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import type { CertificateAuthority } from "@innkeeper/server/core/certificate-authority.ts";
import type { HostLayout } from "#layout.ts";
import { bridgeName } from "#network.ts";

export interface HostIdentity {
  readonly name: string;
  readonly uuid: string;
  readonly address: string;
}

interface HostConfigInput {
  readonly identity: HostIdentity;
  /** All hosts of the lab, this one included, for /etc/hosts. */
  readonly allHosts: readonly HostIdentity[];
  readonly authority: CertificateAuthority;
  readonly sharedFolder: string;
  readonly kvm: boolean;
}

const localPoolFolder = "/var/lib/libvirt/images";

export async function writeHostConfig(layout: HostLayout, input: HostConfigInput): Promise<void> {
  const folders = [layout.etcFolder, layout.overlayWorkFolder, ...Object.values(layout.privateFolders)];
  for (const folder of folders) await mkdir(folder, { recursive: true, mode: 0o755 });
  if (!input.kvm) await writeFile(path.join(layout.folder, "no-kvm"), "", { mode: 0o444 });
  const libvirtFolder = layout.privateFolders["/etc/libvirt"] ?? "";
  const stateFolder = layout.privateFolders["/var/lib/libvirt"] ?? "";
  await mkdir(path.join(stateFolder, "images"));
  const files = { ...etcFiles(input), ...certificateFiles(input) };
  await writeTree(layout.etcFolder, files);
  await writeTree(libvirtFolder, libvirtFiles(input));
  await autostart(path.join(libvirtFolder, "storage"), "/etc/libvirt/storage", ["local", "shared"]);
  await autostart(path.join(libvirtFolder, "qemu/networks"), "/etc/libvirt/qemu/networks", ["default", "lab"]);
  // libvirt's own filters (no-mac-spoofing, clean-traffic …), which its package keeps as configuration.
  await cp("/etc/libvirt/nwfilter", path.join(libvirtFolder, "nwfilter"), { recursive: true }).catch(() => undefined);
}

type FileTree = Readonly<Record<string, string>>;

async function writeTree(root: string, files: FileTree): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(root, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, content, { mode: name.endsWith("key.pem") ? 0o600 : 0o644 });
  }
}

async function autostart(folder: string, hostFolder: string, names: readonly string[]): Promise<void> {
  await mkdir(path.join(folder, "autostart"), { recursive: true });
  for (const name of names) {
    await symlink(path.join(hostFolder, `${name}.xml`), path.join(folder, "autostart", `${name}.xml`));
  }
}

function etcFiles({ identity, allHosts }: HostConfigInput): FileTree {
  const peers = allHosts.map((host) => `${host.address} ${host.name}`);
  return {
    hostname: `${identity.name}\n`,
    hosts: ["127.0.0.1 localhost", "::1 localhost", ...peers, ""].join("\n"),
    "machine-id": `${identity.uuid.replaceAll("-", "")}\n`,
    // The lab has no name server: an empty file lets look-ups fail at once.
    "resolv.conf": "",
  };
}

function certificateFiles({ identity, authority }: HostConfigInput): FileTree {
  const names = { dnsNames: [identity.name], addresses: [identity.address] };
  const server = authority.issue({ commonName: identity.name, purposes: ["server"], ...names });
  const client = authority.issue({ commonName: identity.name, purposes: ["client"], ...names });
  return {
    "pki/CA/cacert.pem": authority.certificatePem,
    "pki/libvirt/servercert.pem": server.certificatePem,
    "pki/libvirt/private/serverkey.pem": server.keyPem,
    "pki/libvirt/clientcert.pem": client.certificatePem,
    "pki/libvirt/private/clientkey.pem": client.keyPem,
    "pki/qemu/ca-cert.pem": authority.certificatePem,
    "pki/qemu/server-cert.pem": server.certificatePem,
    "pki/qemu/server-key.pem": server.keyPem,
    "pki/qemu/client-cert.pem": client.certificatePem,
    "pki/qemu/client-key.pem": client.keyPem,
  };
}

function libvirtFiles({ identity, sharedFolder }: HostConfigInput): FileTree {
  return {
    "libvirtd.conf": configText({
      host_uuid: identity.uuid,
      listen_tls: 1,
      listen_tcp: 0,
      listen_addr: identity.address,
      auth_tls: "none",
      unix_sock_group: "root",
      auth_unix_rw: "none",
      auth_unix_ro: "none",
    }),
    "qemu.conf": configText({
      user: "root",
      group: "root",
      swtpm_user: "root",
      swtpm_group: "root",
      security_driver: "none",
      stdio_handler: "file",
      remember_owner: 0,
      namespaces: [],
      cgroup_controllers: [],
      migration_host: identity.address,
      migration_address: identity.address,
      default_tls_x509_verify: 1,
    }),
    "qemu/networks/default.xml": defaultNetworkXml,
    "qemu/networks/lab.xml": labNetworkXml,
    "storage/local.xml": poolXml("local", localPoolFolder),
    "storage/shared.xml": poolXml("shared", sharedFolder),
  };
}

function configText(settings: Readonly<Record<string, string | number | readonly string[]>>): string {
  return Object.entries(settings)
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
    .join("");
}

const defaultNetworkXml = `<network>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp>
  </ip>
</network>
`;

const labNetworkXml = `<network>
  <name>lab</name>
  <forward mode='bridge'/>
  <bridge name='${bridgeName}'/>
</network>
`;

function poolXml(name: string, folder: string): string {
  return `<pool type='dir'>
  <name>${name}</name>
  <target><path>${escapeXml(folder)}</path></target>
</pool>
`;
}

function escapeXml(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
