// What a guest's agent is told to change is changed: its clock for this run, its users' passwords for good.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { VIR_DOMAIN_PASSWORD_ENCRYPTED, VIR_DOMAIN_TIME_SYNC } from "@innkeeper/libvirt";
import type { NonnullDomain } from "@innkeeper/libvirt";
import { refused } from "#testing/fleet-bench.ts";
import { openHost } from "#testing/open-host.ts";
import type { OpenHost } from "#testing/open-host.ts";

const XML = `<domain type='qemu'><name>g</name>
  <uuid>11111111-2222-4333-8444-555555555555</uuid><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices>
  <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>`;

async function booted({ connection: { remote }, clock }: OpenHost): Promise<NonnullDomain> {
  const { dom } = await remote.domainDefineXml({ xml: XML });
  await remote.domainCreate({ dom });
  await clock.advance(10_000);
  return (await remote.domainLookupByName({ name: "g" })).dom;
}

async function told({ connection }: OpenHost, dom: NonnullDomain, execute: string, args: object): Promise<unknown> {
  const cmd = JSON.stringify({ execute, arguments: args });
  const { result } = await connection.qemu.domainAgentCommand({ dom, cmd, timeout: 5 });
  return (JSON.parse(result ?? "") as { return: unknown }).return;
}

async function shadowOf(opened: OpenHost, dom: NonnullDomain, user: string): Promise<string> {
  const started = await told(opened, dom, "guest-exec", { path: "/usr/bin/getent", arg: ["shadow", user] });
  const { "out-data": output } = (await told(opened, dom, "guest-exec-status", started as object)) as Record<
    string,
    string
  >;
  return Buffer.from(output ?? "", "base64").toString();
}

describe("guest agent", { timeout: 20_000 }, () => {
  test("a clock that is set goes on from there, and back to the host's when it is told to, or at the next start", async () => {
    await using opened = await openHost();
    const { remote } = opened.connection;
    const dom = await booted(opened);
    const seconds = async (of = dom): Promise<number> => Number((await remote.domainGetTime({ dom: of })).seconds);
    await remote.domainSetTime({ dom, seconds: 1_000n, nseconds: 500_000_000, flags: 0 });
    await opened.clock.advance(5_000);
    assert.deepEqual(await remote.domainGetTime({ dom }), { seconds: 1_005n, nseconds: 500_000_000 });
    await remote.domainSetTime({ dom, seconds: 0n, nseconds: 0, flags: VIR_DOMAIN_TIME_SYNC });
    assert.equal(await seconds(), Math.floor(opened.clock.nowMs() / 1_000));
    await told(opened, dom, "guest-set-time", { time: 7_000_000_000 });
    assert.equal(await told(opened, dom, "guest-get-time", {}), 7_000_000_000);
    await remote.domainDestroy({ dom });
    const again = await booted(opened);
    assert.equal(await seconds(again), Math.floor(opened.clock.nowMs() / 1_000));
  });

  test("a password that is set stands in the guest's file, and outlives the run; users that are not there have none", async () => {
    await using opened = await openHost();
    const { remote } = opened.connection;
    const dom = await booted(opened);
    assert.match(await shadowOf(opened, dom, "root"), /^root:\*:/);
    await remote.domainSetUserPassword({ dom, user: "root", password: "secret", flags: 0 });
    const plain = await shadowOf(opened, dom, "root");
    assert.match(plain, /^root:\$sim\$\d+:/);
    const flags = VIR_DOMAIN_PASSWORD_ENCRYPTED;
    await remote.domainSetUserPassword({ dom, user: "debian", password: "$6$a$b", flags });
    await remote.domainDestroy({ dom });
    const again = await booted(opened);
    assert.equal(await shadowOf(opened, again, "root"), plain);
    assert.match(await shadowOf(opened, again, "debian"), /^debian:\$6\$a\$b:/);
    await assert.rejects(
      remote.domainSetUserPassword({ dom: again, user: "nobody", password: "x", flags: 0 }),
      refused("VIR_ERR_INTERNAL_ERROR", /failed to set user password/),
    );
  });
});
