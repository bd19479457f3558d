/** Metrics of a real guest on a real host: counters of libvirt and QEMU become rates, by API's words. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import { ControlPlane, labAccess } from "#app/test-support/control-plane.ts";
import { systemClock } from "#core/system-clock.ts";
import { MetricPoll } from "#management/metric/metric-poll.ts";
import { MetricService } from "#management/metric/metric-service.ts";
import { RecentSamples } from "#management/metric/recent-samples.ts";

const uuid = "55555555-5555-4555-8555-555555555555";
/** The BIOS looks for something to boot, with two disks and a card. */
const domainXml = `<domain type='qemu'><name>busy</name><uuid>${uuid}</uuid>
  <memory unit='MiB'>64</memory><vcpu>2</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/run/busy.img'/>
  <target dev='vda' bus='virtio'/></disk><interface type='network'><source network='default'/></interface></devices></domain>`;
const triesMax = 60;
const call = () => ({ signal: AbortSignal.timeout(10_000) });

test("a guest that runs has CPU, memory and disk metrics, its host the sum, and what is stored agrees with its state", async () => {
  await Lab.down("metric");
  await using lab = await Lab.up({ name: "metric", hostCount: 1 });
  const host = lab.host("h1");
  await host.exec(["truncate", "-s", "10M", "/run/busy.img"]);
  await host.exec(["sh", "-c", `cat > /run/busy.xml <<'END'\n${domainXml}\nEND`]);
  await host.exec(["virsh", "--quiet", "create", "/run/busy.xml"]);
  await using plane = await ControlPlane.open({ access: await labAccess(lab) });
  const { store, inventory, wiring } = plane;
  const { id: hostId } = plane.host("h1");
  const { found: vm } = await plane.until("the VM", () => inventory.by("vm", "uuid", uuid)[0]);
  const recent = new RecentSamples();
  const clock = systemClock;
  using poll = new MetricPoll({ inventory, providers: wiring.providers, recent, clock });
  const cpu = (): number => recent.latest(vm.id, "cpuUsagePct", clock.now(), 90_000) ?? 0;
  for (let tries = 0; cpu() <= 0 && tries < triesMax; tries++) {
    assert.deepEqual(await poll.sample(hostId, call()), []);
    await clock.sleep(250);
  }
  assert.ok(cpu() > 0 && cpu() <= 100, `${cpu()} %`);
  const service = new MetricService({ store, inventory, recent, clock });
  const { series } = await service.series("vm", vm.id, {}, "vmId");
  const last = (name: string): number | null | undefined =>
    series.find(({ metric }) => metric === name)?.average.findLast((value) => value !== null);
  for (const name of [
    "memoryConsumedMiB",
    "cpuReadyPct",
    "diskReadKiBps",
    "networkReceiveKiBps",
    "memoryBalloonedMiB",
  ]) {
    assert.equal(typeof last(name), "number", name);
  }
  assert.ok(Number(last("memoryConsumedMiB")) > 10);
  const ofHost = await service.series("host", hostId, { metrics: "cpuUsagePct,memoryConsumedMiB" }, "hostId");
  assert.ok(ofHost.series.every(({ average }) => average.some((value) => value !== null && value > 0)));
  // What the event told and what the counters tell is the same.
  await host.exec(["virsh", "--quiet", "suspend", "busy"]);
  await plane.until("it is paused", () => (inventory.get("vm", vm.id)?.state === "paused" ? true : undefined));
  assert.deepEqual(await poll.sample(hostId, call()), []);
});
