/** Taking back a CPU weight: what the host says, whichever cgroups it has. The calls are a recording of libvirt's answers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { LiveGuest } from "./live-step.ts";
import { cpuSteps } from "./live-cpu.ts";

/** cgroup v1 begins with 1024, v2 with 100 (Linux Documentation/admin-guide/cgroup-v2.rst cpu.weight). */
for (const [version, normal] of Object.entries({ v1: 1024, v2: 100 })) {
  test(`a guest without a weight gets the normal one of cgroup ${version} back`, async () => {
    const set: unknown[] = [];
    const remote = {
      domainGetSchedulerParametersFlags: async () => ({
        params: { cpu_shares: BigInt(normal), vcpu_period: 100_000n },
      }),
      domainSetSchedulerParametersFlags: async ({ params }: { params: unknown }) => void set.push(params),
    };
    const guest = { remote, dom: {}, options: {}, spec: { cpu: { count: 1 } } } as unknown as LiveGuest;
    const [step] = await cpuSteps(guest, { shares: 5000 });
    await step?.run();
    await step?.undo?.();
    assert.deepEqual(set, [{ cpu_shares: 5000n }, { cpu_shares: BigInt(normal) }]);
    assert.deepEqual(await cpuSteps(guest, { shares: null }), []);
  });
}
