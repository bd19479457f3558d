// Snapshots, block jobs and the agent of simulated guests, as a client sees them.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { NonnullDomain } from "@innkeeper/libvirt";
import { openHost, type OpenHost } from "#testing/open-host.ts";

const folder = "/var/lib/libvirt/images";

async function guestOf({ connection: { remote } }: OpenHost): Promise<NonnullDomain> {
  const poolXml = `<pool type='dir'><name>p</name><target><path>${folder}</path></target></pool>`;
  const { pool } = await remote.storagePoolCreateXml({ xml: poolXml, flags: 1 });
  const xml =
    "<volume><name>g.qcow2</name><capacity>67108864</capacity><target><format type='qcow2'/></target></volume>";
  await remote.storageVolCreateXml({ pool, xml });
  const xmlDesc = `<domain type='qemu'><name>g</name><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices>
    <disk type='file'><driver name='qemu' type='qcow2'/><source file='${folder}/g.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>`;
  const { dom } = await remote.domainDefineXml({ xml: xmlDesc });
  await remote.domainCreate({ dom });
  return (await remote.domainLookupByName({ name: "g" })).dom;
}

const layer = (file: string, more = ""): string =>
  `<domainsnapshot><name>x</name>${more}<disks><disk name='vda' snapshot='external'><source file='${folder}/${file}'/></disk></disks></domainsnapshot>`;
/** Disks only, nothing kept by libvirt. */
const DISKS = 16 | 4;

async function chainOf({ connection: { remote } }: OpenHost, dom: NonnullDomain): Promise<string[]> {
  const { xml } = await remote.domainGetXmlDesc({ dom });
  return [...xml.matchAll(/<source file='[^']*\/([^'/]+)'/gu)].flatMap(([, name]) => name ?? []);
}

describe("snapshots of a simulated host's guests", { timeout: 20_000 }, () => {
  test("internal ones are a tree; going back restores what the disk held", async () => {
    await using opened = await openHost();
    const { remote } = opened.connection;
    const dom = await guestOf(opened);
    const file = opened.host.files.file(`${folder}/g.qcow2`);
    const take = async (name: string) =>
      (await remote.domainSnapshotCreateXml({ dom, xmlDesc: `<domainsnapshot><name>${name}</name></domainsnapshot>` }))
        .snap;
    const first = await take("first");
    file.growGuestData(5_000_000, 0);
    const second = await take("second");
    assert.equal((await remote.domainSnapshotGetParent({ snap: second })).snap.name, "first");
    await remote.domainRevertToSnapshot({ snap: first });
    assert.equal(file.guestBytes, 0);
    assert.equal((await remote.domainSnapshotCurrent({ dom })).snap.name, "first");
    await remote.domainRevertToSnapshot({ snap: second });
    assert.equal(file.guestBytes, 5_000_000);
    await assert.rejects(take("second"), /domain moment second already exists/u);
    await remote.domainSnapshotDelete({ snap: first });
    const { snapshots } = await remote.domainListAllSnapshots({ dom, needResults: 1 });
    assert.deepEqual(
      snapshots.map(({ name }) => name),
      ["second"],
    );
  });

  test("new layers, a live merge that is cancelled, and one that pivots", async () => {
    await using opened = await openHost();
    const { remote, events } = opened.connection;
    const dom = await guestOf(opened);
    const jobs = events.domain("blockJob2");
    await jobs.ready;
    await remote.domainSnapshotCreateXml({ dom, xmlDesc: layer("a.qcow2"), flags: DISKS });
    await remote.domainSnapshotCreateXml({ dom, xmlDesc: layer("b.qcow2"), flags: DISKS });
    assert.deepEqual(await chainOf(opened, dom), ["b.qcow2", "a.qcow2", "g.qcow2"]);
    opened.host.files.file(`${folder}/b.qcow2`).growGuestData(8_000_000, 0);
    const base = `${folder}/a.qcow2`;
    const commit = { dom, disk: "vda", base, top: null, bandwidth: 0n, flags: 4 };
    await remote.domainBlockCommit(commit);
    const pivot = { dom, path: "vda", flags: 2 };
    await assert.rejects(remote.domainBlockJobAbort(pivot), { codeName: "VIR_ERR_BLOCK_COPY_ACTIVE" });
    const info = await remote.domainGetBlockJobInfo({ dom, path: "vda" });
    assert.deepEqual([info.found, info.type, info.end], [1, 4, 8_000_000n]);
    await remote.domainBlockJobAbort({ dom, path: "vda" });
    assert.deepEqual(await chainOf(opened, dom), ["b.qcow2", "a.qcow2", "g.qcow2"]);
    await remote.domainBlockCommit(commit);
    await opened.clock.advance(1_000);
    await remote.domainBlockJobAbort(pivot);
    assert.deepEqual(await chainOf(opened, dom), ["a.qcow2", "g.qcow2"]);
    assert.equal(opened.host.files.file(base).guestBytes, 8_000_000);
    await remote.domainBlockCommit({ ...commit, base: `${folder}/g.qcow2` });
    await remote.domainDestroy({ dom });
    await remote.domainCreate({ dom });
    assert.equal((await remote.domainGetBlockJobInfo({ dom, path: "vda" })).found, 0);
    const seen: number[] = [];
    for await (const { status } of jobs) if (seen.push(status) === 3) break;
    assert.deepEqual(seen, [2, 3, 0]);
  });

  test("one with memory is a job that can be cancelled; a restore goes on from it", async () => {
    await using opened = await openHost();
    const { remote } = opened.connection;
    const dom = await guestOf(opened);
    const xmlDesc = layer("m.qcow2", `<memory snapshot='external' file='${folder}/m.mem'/>`);
    const cancelled = assert.rejects(remote.domainSnapshotCreateXml({ dom, xmlDesc, flags: 4 | 256 }), {
      codeName: "VIR_ERR_OPERATION_ABORTED",
    });
    await remote.domainGetState({ dom });
    opened.host.domains.require(dom).job?.abort();
    await cancelled;
    assert.deepEqual(await chainOf(opened, dom), ["g.qcow2"]);
    const taken = remote.domainSnapshotCreateXml({ dom, xmlDesc, flags: 4 | 256 });
    await remote.domainGetState({ dom });
    await opened.clock.advance(10_000);
    await taken;
    assert.deepEqual(await chainOf(opened, dom), ["m.qcow2", "g.qcow2"]);
    assert.equal((await remote.domainGetState({ dom })).state, 1);
    await remote.domainDestroy({ dom });
    await remote.domainRestoreFlags({ from: `${folder}/m.mem`, flags: 0 });
    assert.deepEqual(await chainOf(opened, dom), ["g.qcow2"]);
  });

  test("the agent answers once the guest has booted", async () => {
    await using opened = await openHost();
    const { remote, qemu } = opened.connection;
    const dom = await guestOf(opened);
    const command = async (execute: string, args = {}): Promise<unknown> => {
      const cmd = JSON.stringify({ execute, arguments: args });
      return (JSON.parse((await qemu.domainAgentCommand({ dom, cmd, timeout: 5 })).result ?? "") as { return: unknown })
        .return;
    };
    await assert.rejects(command("guest-ping"), { codeName: "VIR_ERR_AGENT_UNRESPONSIVE" });
    await opened.clock.advance(5_000);
    assert.deepEqual(await command("guest-ping"), {});
    assert.deepEqual(await command("guest-get-host-name"), { "host-name": "g" });
    const { pid } = (await command("guest-exec", { path: "/bin/echo", arg: ["hello"] })) as { pid: number };
    assert.deepEqual(await command("guest-exec-status", { pid }), {
      exited: true,
      exitcode: 0,
      "out-data": Buffer.from("hello\n").toString("base64"),
    });
    await assert.rejects(command("guest-none"), /The command has not been found/u);
    assert.equal((await remote.domainFsfreeze({ dom, mountpoints: [] })).filesystems, 1);
    assert.equal(await command("guest-fsfreeze-status"), "frozen");
    assert.equal((await remote.domainFsthaw({ dom, mountpoints: [] })).filesystems, 1);
    const { params } = await remote.domainGetGuestInfo({ dom, types: 0 });
    assert.equal(params["os.version-id"], "12");
  });
});
