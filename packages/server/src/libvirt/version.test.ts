/** The oldest libvirt that is supported has everything that the drivers use, and an older one is refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, constantSince, procedureSince, sinceBase } from "@innkeeper/libvirt";
import { fakeServer, procedureName } from "@innkeeper/libvirt/testing/fake-server.ts";
import { protocolUse } from "./test-support/protocol-use.ts";
import { formatVersion, minimumLibvirtVersion, requireSupported } from "./version.ts";

/** Newer than that and yet used: each with its way without it, which daemon-variant.lab.test.ts walks. */
const optional: readonly string[] = [
  "VIR_DOMAIN_UNDEFINE_KEEP_TPM", // definition.ts: before 8.9 a VM with an emulated TPM is not undefined without its disks
  "VIR_DOMAIN_UNDEFINE_TPM", // definition.ts: undefines again without it; before 8.9 that removes the TPM's state as well
];

test("nothing that the drivers use is newer than the oldest supported libvirt", () => {
  // The tables list what came after this release.
  assert.equal(formatVersion(minimumLibvirtVersion), sinceBase);
  const { procedures, events, constants } = protocolUse();
  const sizes = [procedures.size, events.size, constants.size];
  assert.ok(procedures.size > 80 && events.size > 4 && constants.size > 80, `found only ${String(sizes)}`);
  const newer = [
    ...[...procedures].filter((name) => name in procedureSince),
    ...[...constants].filter((name) => name in constantSince),
  ];
  // Who needs one of them asks the daemon first or tries, and has a way without it or refuses by naming the version.
  assert.deepEqual(newer, optional);
});

for (const [version, isRefused] of [
  [6_010_000n, true],
  [7_000_000n, false],
  [11_002_000n, false],
] as const) {
  test(`libvirt ${formatVersion(version)} is ${isRefused ? "refused, with the version that is needed" : "accepted"}`, async () => {
    await using server = await fakeServer((message, peer) => {
      if (procedureName(message) === "connectGetLibVersion")
        peer.reply(message, "ConnectGetLibVersionRet", { libVer: version });
    });
    await using connection = await connect(server.uri);
    const check = requireSupported(connection, { signal: AbortSignal.timeout(10_000), timeoutMs: 10_000 });
    if (!isRefused) return await check;
    await assert.rejects(check, {
      code: "unsupported",
      field: "uri",
      message: "The host's libvirt is 6.10.0; Innkeeper needs 7.0.0 or newer.",
    });
  });
}
