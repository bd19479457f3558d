// Other people's clients against a simulated host: virsh, virt-install and python3-libvirt, as their users call them.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { RealClock } from "#host/clock.ts";
import { SimHost } from "#host/sim-host.ts";
import { procedureTable } from "#procedure/table.ts";
import { SimDaemon } from "#rpc/daemon.ts";

const execute = promisify(execFile);
const images = "/var/lib/libvirt/images";
const programs = ["/usr/bin/virsh", "/usr/bin/virt-install", "/usr/bin/python3"];
const missing = programs.find((program) => !existsSync(program));

const network = `<network><name>default</name><forward mode='nat'/><bridge name='virbr0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'><dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>`;

function hasPythonLibvirt(): boolean {
  try {
    execFileSync("/usr/bin/python3", ["-c", "import libvirt"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

describe("other clients", { skip: missing === undefined ? false : `needs ${missing}`, timeout: 120_000 }, () => {
  let folder: string;
  let uri: string;
  let daemon: SimDaemon;
  const server = createServer((socket) => void daemon.accept(socket.on("error", () => undefined)));

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "inn-sim-client-"));
    const timing = { startMs: 0, bootMs: 100, shutdownMs: 100 };
    const host = new SimHost({ name: "sim", clock: new RealClock(), seed: 1, timing });
    host.networks.start(host.networks.define(network));
    daemon = new SimDaemon(host, procedureTable);
    const socket = path.join(folder, "sock");
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(socket, resolve);
    await promise;
    uri = `qemu+unix:///system?socket=${socket}`;
  });
  after(async () => {
    daemon?.drop();
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  const run = async (program: string, ...args: string[]): Promise<string> =>
    (await execute(program, args, { env: { ...process.env, LC_ALL: "C", LIBVIRT_DEFAULT_URI: uri }, timeout: 60_000 }))
      .stdout;
  const virsh = (...args: string[]): Promise<string> => run("/usr/bin/virsh", "-q", ...args);
  const refused = (words: RegExp, ...args: string[]): Promise<void> => assert.rejects(virsh(...args), words);

  test("virsh: pools and volumes, with content", async () => {
    await virsh("pool-create-as", "default", "dir", "--target", images);
    await virsh("vol-create-as", "default", "a.raw", "3000000", "--format", "raw");
    const [from, to] = [path.join(folder, "from"), path.join(folder, "to")];
    await writeFile(from, randomBytes(3_000_000));
    await virsh("vol-upload", "a.raw", from, "--pool", "default");
    await virsh("vol-clone", "a.raw", "b.raw", "--pool", "default");
    await virsh("vol-download", "b.raw", to, "--pool", "default", "--sparse");
    assert.ok((await readFile(from)).equals(await readFile(to)));
    assert.match(await virsh("vol-list", "default", "--details"), /a\.raw +\S+ +file +2\.86 MiB/u);
    await refused(/storage volume 'a\.raw' exists already/u, "vol-create-as", "default", "a.raw", "1M");
    await virsh("vol-delete", "a.raw", "default");
    await refused(/Storage volume not found/u, "vol-info", "a.raw", "default");
  });

  test("virt-install imports a disk; snapshots, merges and copies of the guest with virsh", async () => {
    const guest = ["--name", "web", "--memory", "512", "--osinfo", "generic", "--virt-type", "qemu", "--import"];
    const devices = [
      "--disk",
      "size=1,pool=default,sparse=yes,bus=virtio",
      "--network",
      "network=default",
      "--graphics",
      "none",
    ];
    const agent = ["--channel", "unix,target.type=virtio,target.name=org.qemu.guest_agent.0"];
    await run("/usr/bin/virt-install", "--connect", uri, ...guest, ...devices, ...agent, "--noautoconsole");
    assert.match(await virsh("domstate", "web"), /running/u);
    assert.match(await virsh("domifaddr", "web"), /192\.168\.122\.2\/24/u);
    assert.match(await virsh("net-dhcp-leases", "default"), /192\.168\.122\.2\/24 +web/u);
    await virsh("snapshot-create-as", "web", "one", "--description", "before");
    await virsh("snapshot-revert", "web", "one");
    assert.match(await virsh("snapshot-list", "web"), /one .* running/u);
    await virsh("snapshot-delete", "web", "one");
    const layer = `${images}/web.layer.qcow2`;
    await virsh("snapshot-create-as", "web", "x", "--disk-only", "--no-metadata", "--diskspec", `vda,file=${layer}`);
    assert.match(await virsh("domblklist", "web"), /vda +\S+web\.layer\.qcow2/u);
    await virsh("blockcommit", "web", "vda", "--active", "--pivot");
    assert.match(await virsh("domblklist", "web"), /vda +\S+\/web\.qcow2/u);
    const copy = `${images}/copy.qcow2`;
    await refused(/domain is not transient/u, "blockcopy", "web", "vda", copy, "--wait");
    await virsh("blockcopy", "web", "vda", copy, "--wait", "--pivot", "--transient-job");
    assert.match(await virsh("domblklist", "web"), /vda +\S+copy\.qcow2/u);
    assert.match(await virsh("qemu-agent-command", "web", '{"execute":"guest-get-host-name"}'), /"host-name":"web"/u);
    assert.match(await virsh("domfsinfo", "web"), /ext4/u);
  });

  test("virt-install --print-xml describes the guest by what the host can do; virsh defines and starts that", async () => {
    const guest = ["--name", "printed", "--memory", "1024", "--vcpus", "2", "--osinfo", "debian11"];
    const devices = ["--disk", "size=2,pool=default", "--network", "network=default", "--graphics", "vnc"];
    const install = [
      "--connect",
      uri,
      ...guest,
      ...devices,
      "--import",
      "--virt-type",
      "kvm",
      "--print-xml",
      "--dry-run",
    ];
    const xml = await run("/usr/bin/virt-install", ...install);
    assert.match(xml, /^<domain type="kvm">[\s\S]*<name>printed<\/name>/u);
    assert.match(xml, /<type arch="x86_64" machine="q35">hvm<\/type>/u);
    assert.match(xml, /<cpu mode="host-passthrough"\/>/u);
    assert.match(
      xml,
      /<source file="\/var\/lib\/libvirt\/images\/printed\.qcow2"\/>\s*<target dev="vda" bus="virtio"\/>/u,
    );
    await refused(/failed to get domain 'printed'/u, "dominfo", "printed");
    const file = path.join(folder, "printed.xml");
    await writeFile(file, xml);
    await refused(/Storage volume not found/u, "vol-info", "printed.qcow2", "default");
    await refused(/Cannot access storage file/u, "create", file);
    // Without --dry-run it creates the disk, too (virt-install(1)).
    const wet = await run("/usr/bin/virt-install", ...install.filter((word) => word !== "--dry-run"));
    const chosen = /<uuid>.*<\/uuid>|<mac address=".*"\/>/gu;
    assert.equal(wet.replaceAll(chosen, ""), xml.replaceAll(chosen, ""));
    assert.match(await virsh("vol-info", "printed.qcow2", "default"), /2\.00 GiB/u);
    await virsh("define", file);
    await virsh("start", "printed");
    assert.match(await virsh("list", "--name"), /^printed$/mu);
    await virsh("destroy", "printed");
    await virsh("undefine", "printed");
  });

  test("python3-libvirt", { skip: hasPythonLibvirt() ? false : "needs Debian's python3-libvirt" }, async () => {
    const program = `
import libvirt
c = libvirt.open("${uri}")
p = c.storagePoolLookupByName("default")
d = c.lookupByName("web")
s = d.snapshotCreateXML("<domainsnapshot><name>py</name></domainsnapshot>")
st = c.newStream()
p.storageVolLookupByName("b.raw").download(st, 0, 100)
print(p.info()[0], s.isCurrent(), [x.getName() for x in d.listAllSnapshots()], len(st.recv(200)))
st.finish()
try:
    c.networkLookupByName("none")
except libvirt.libvirtError as e:
    print(e.get_error_code(), e.get_error_message())
`;
    assert.equal(
      await run("/usr/bin/python3", "-c", program),
      "2 1 ['py'] 100\n43 Network not found: no network with matching name 'none'\n",
    );
  });
});
