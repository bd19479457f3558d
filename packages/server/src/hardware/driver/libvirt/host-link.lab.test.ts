/** The hardware driver against a real daemon: connecting, losing, refusing, and what a host says of itself. */
import assert from "node:assert/strict";
import path from "node:path";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, before, describe, test } from "node:test";
import type { LabHost } from "@innkeeper/lab/host.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import { labAccess, type LabAccess } from "#app/test-support/control-plane.ts";
import { CertificateAuthority } from "#core/certificate-authority.ts";
import { silentLogger } from "#core/log.ts";
import { systemClock } from "#core/system-clock.ts";
import type { HostAddress, HostLinkStatus } from "#hardware/port.ts";
import { onConnection } from "#libvirt/session.ts";
import { LibvirtHostLink } from "./host-link.ts";
import { runKvmTest } from "./kvm-test.ts";

const options = { clock: systemClock, log: silentLogger, allowPlainTcp: false, retryMinMs: 50, retryMaxMs: 500 };
const within = (ms: number) => ({ signal: AbortSignal.timeout(ms) });

describe("host link", () => {
  let lab: Lab;
  let access: LabAccess;
  let host: LabHost;
  let scratch: string;

  before(async () => {
    await Lab.down("host-link");
    scratch = mkdtempSync(path.join(tmpdir(), "inn-host-link-"));
    lab = await Lab.up({ name: "host-link", hostCount: 1 });
    access = await labAccess(lab);
    host = lab.host("h1");
  });

  after(async () => {
    await lab?.down();
    rmSync(scratch, { recursive: true, force: true });
  });

  const open = (address: Partial<HostAddress> = {}) =>
    new LibvirtHostLink({ uri: host.uri, tls: access.tls, ...address }, options);

  test("tells what the host is and how busy it is", async () => {
    await using link = open();
    await link.ready(within(20_000));
    assert.deepEqual(link.status, { state: "connected", detail: "" });
    const hardware = await link.hardware(within(60_000));
    const virsh = async (...argv: string[]) => (await host.exec(["virsh", ...argv])).stdout;
    assert.equal(hardware.uuid, host.uuid);
    assert.equal(hardware.cpuCount, Number(/CPU\(s\):\s*(\d+)/.exec(await virsh("nodeinfo"))?.[1]));
    assert.equal(hardware.libvirtVersion, /library: libvirt (\S+)/.exec(await virsh("version"))?.[1]);
    assert.equal(hardware.hypervisorVersion, /hypervisor: QEMU (\S+)/.exec(await virsh("version"))?.[1]);
    assert.ok(hardware.machineTypes.includes("q35") && hardware.firmwares.includes("uefi"));
    assert.ok(hardware.cpuModels.includes("qemu64") && hardware.cpuModels.includes("maximum"));
    assert.deepEqual(hardware.domainTypes, ["qemu"]);
    assert.equal(hardware.numaNodes.flatMap((node) => node.cpus).length, hardware.cpuCount);
    const usage = await link.usage(within(20_000));
    assert.ok(usage.memoryFreeMiB > 0 && usage.memoryFreeMiB <= hardware.memoryMiB);
    assert.ok(usage.cpuLoadPct >= 0 && usage.cpuLoadPct <= 100);
  });

  test("the KVM test believes a guest that runs to its end, nothing else, and leaves nothing", async () => {
    await using link = open();
    await link.ready(within(20_000));
    const hidden = await link.testKvm(within(60_000));
    assert.deepEqual([hidden.advertised, hidden.usable], [false, false]);
    const run = (domainType: "kvm" | "qemu", machineTypes: string[], architecture = "x86_64") =>
      onConnection({ session: link }, within(60_000), "test", (connected) =>
        runKvmTest(connected, { domainType, architecture, machineTypes }),
      );
    // The same guest, emulated: what proves KVM where there is one.
    for (const machine of ["pc", "q35"]) assert.equal((await run("qemu", [machine])).usable, true, machine);
    const refused = await run("kvm", ["q35"]);
    assert.equal(refused.usable, false);
    assert.match(refused.detail, /could not be started.*kvm/i);
    assert.equal((await run("kvm", ["virt"], "aarch64")).usable, null);
    assert.equal((await host.exec(["virsh", "list", "--all", "--name"])).stdout.trim(), "");
  });

  test("untrusted, refused and unreachable are told apart, by the first attempt", async () => {
    const other = await CertificateAuthority.open(path.join(scratch, "ca"));
    const client = other.issue({ commonName: "other", purposes: ["client"] });
    const { tls } = access;
    const rows: [Partial<HostAddress>, string, RegExp][] = [
      [{ tls: { ...tls, caCertificate: other.certificatePem } }, "untrusted", /certificate/],
      [
        { tls: { ...tls, clientCertificate: client.certificatePem, clientKey: client.keyPem } },
        "untrusted",
        /refused the client/,
      ],
      [{ uri: `qemu+tls://${host.address}:2/system` }, "unreachable", /connection refused/],
      [{ uri: "qemu+unix:///system?socket=/nonexistent" }, "unreachable", /no such socket/],
    ];
    for (const [address, wanted, words] of rows) {
      const { state, message } = await refusalOf(open(address));
      assert.equal(state, wanted, message);
      assert.match(message, words);
    }
    assert.throws(() => open({ uri: `qemu+tcp://${host.address}/system` }), { code: "invalid_field", field: "uri" });
  });

  test("a killed daemon is noticed at once, calls fail by name, and the link comes back by itself", async () => {
    await using link = open();
    await link.ready(within(20_000));
    const seen: HostLinkStatus["state"][] = [];
    const watching = new AbortController();
    const watch = (async () => {
      for await (const { state } of link.statusChanges(watching.signal)) {
        seen.push(state);
        if (state === "connected") break;
      }
    })();
    await host.killLibvirtd();
    await assert.rejects(link.usage(within(5_000)), { code: "host_unreachable" });
    await host.startLibvirtd();
    const giveUp = setTimeout(() => watching.abort(), 20_000);
    await watch;
    clearTimeout(giveUp);
    assert.equal(seen[0], "connecting");
    assert.equal(seen.at(-1), "connected");
    assert.ok((await link.usage(within(20_000))).memoryFreeMiB > 0);
  });

  test("a link that is closed ends its waits and connects no more", async () => {
    const link = open({ uri: `qemu+tls://${host.address}:2/system` });
    const changes = link.statusChanges(new AbortController().signal);
    const ended = (async () => {
      for await (const _status of changes) continue;
    })();
    await link.ready(within(5_000)).catch(() => undefined);
    await link[Symbol.asyncDispose]();
    await ended;
    await assert.rejects(link.ready(within(5_000)), { code: "host_unreachable" });
  });
});

/** What the first attempt came to: one that hung would end by the deadline, whose words are not the link's. */
async function refusalOf(link: LibvirtHostLink): Promise<{ state: string; message: string }> {
  const error: unknown = await link.ready(within(20_000)).catch((cause: unknown) => cause);
  const { state, detail } = link.status;
  await link[Symbol.asyncDispose]();
  assert.ok(error instanceof Error);
  assert.equal(detail, error.message);
  return { state, message: error.message };
}
