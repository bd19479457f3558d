// The same questions to the same daemon, by this client and by virsh: the answers must be the same. And the examples run.
import { strict as assert } from "node:assert";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { VIR_DOMAIN_STATS_STATE } from "#generated/domain-constant.ts";
import { daemonUnavailable, startDaemon } from "#testing/daemon.ts";
import { createPool, createVolume, startGuest } from "#testing/fixture.ts";
import { connect } from "./connect.ts";
import type { TypedParameters } from "#codec/typed-parameter.ts";
import type { Daemon } from "#testing/daemon.ts";
import type { Connection } from "./connection.ts";

const run = promisify(execFile);
const EXAMPLES = join(import.meta.dirname, "../../example");
const reason = daemonUnavailable() ?? (existsSync("/usr/bin/virsh") ? null : "needs Debian's libvirt-clients");

/** As virsh domstats prints them. */
function printed(params: TypedParameters): string[] {
  return Object.entries(params).map(
    ([name, value]) => `${name}=${typeof value === "boolean" ? (value ? "yes" : "no") : String(value)}`,
  );
}

describe("against virsh", { skip: reason ?? false, timeout: 120_000 }, () => {
  let daemon: Daemon;
  let qemu: Connection;
  let fake: Connection;

  before(async () => {
    daemon = await startDaemon();
    qemu = await connect(`qemu:///system?socket=${daemon.socket}`);
    fake = await connect(`test:///default?socket=${daemon.socket}`);
  });
  after(async () => {
    await qemu?.close();
    await fake?.close();
    await daemon?.stop();
  });
  const virsh = async (uri: string, ...args: string[]): Promise<string> =>
    (await run("virsh", ["-q", "-c", `${uri}?socket=${daemon.socket}`, ...args])).stdout;
  const system = (...args: string[]): Promise<string> => virsh("qemu+unix:///system", ...args);
  const testing = (...args: string[]): Promise<string> => virsh("test+unix:///default", ...args);

  test("host: capabilities, domain capabilities, memory, CPU models", async () => {
    assert.equal(
      (await qemu.remote.connectGetCapabilities()).capabilities.trim(),
      (await system("capabilities")).trim(),
    );
    const { capabilities } = await qemu.remote.connectGetDomainCapabilities({ virttype: "qemu" });
    assert.equal(capabilities.trim(), (await system("domcapabilities", "--virttype", "qemu")).trim());
    const { models } = await qemu.remote.connectGetCpuModelNames({ arch: "x86_64", needResults: 1 });
    assert.deepEqual(models, (await system("cpu-models", "x86_64")).trim().split("\n"));
    const info = await qemu.remote.nodeGetInfo();
    const text = await system("nodeinfo");
    assert.match(text, new RegExp(`CPU model:\\s+${info.model}\\n[\\s\\S]*Memory size:\\s+${info.memory} KiB`, "u"));
  });

  test("domains: list, XML, statistics, scheduler, metadata", async () => {
    const { domains } = await fake.remote.connectListAllDomains({ needResults: 1 });
    assert.deepEqual(
      domains.map(({ name }) => name),
      (await testing("list", "--all", "--name")).trim().split("\n"),
    );
    const [dom] = domains;
    assert.ok(dom);
    assert.equal(dom.uuid, (await testing("domuuid", dom.name)).trim());
    assert.equal((await fake.remote.domainGetXmlDesc({ dom })).xml.trim(), (await testing("dumpxml", dom.name)).trim());
    const { retStats } = await fake.remote.connectGetAllDomainStats({ doms: [dom], stats: VIR_DOMAIN_STATS_STATE });
    const shown = (await testing("domstats", "--state", dom.name))
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line.includes("="));
    assert.deepEqual(printed(retStats[0]?.params ?? {}), shown);
    await fake.remote.domainSetMetadata({ dom, type: 0, metadata: "Grüße, 世界 <&>", flags: 0 });
    assert.equal((await testing("desc", dom.name)).trim(), "Grüße, 世界 <&>");
    await fake.remote.domainSetSchedulerParameters({ dom, params: { weight: 77 } });
    const { params } = await fake.remote.domainGetSchedulerParameters({ dom, nparams: 4 });
    const shownWeight = new RegExp(`weight\\s*:\\s*${String(params["weight"])}`, "u");
    assert.match(await testing("schedinfo", dom.name), shownWeight);
  });

  test("pools, volumes, networks, node devices", async () => {
    await createPool(qemu, daemon, "compared");
    const vol = await createVolume(qemu, "compared", "v", 3_000_000_000_000);
    assert.equal(
      (await qemu.remote.storageVolGetXmlDesc({ vol })).xml.trim(),
      (await system("vol-dumpxml", "v", "compared")).trim(),
    );
    const info = await qemu.remote.storageVolGetInfo({ vol });
    assert.match(
      await system("vol-info", "--bytes", "v", "compared"),
      new RegExp(`Capacity:\\s+${info.capacity} bytes`, "u"),
    );
    const { nets } = await fake.remote.connectListAllNetworks({ needResults: 1 });
    assert.deepEqual(
      nets.map(({ name }) => name),
      (await testing("net-list", "--all", "--name")).trim().split("\n"),
    );
  });

  test("examples run", async () => {
    const uri = `test:///default?socket=${daemon.socket}`;
    const { stdout } = await run(process.execPath, [join(EXAMPLES, "list-domain.ts"), uri]);
    assert.match(stdout, /NAME\s+STATE[\s\S]*test\s+running/u);
    await createPool(qemu, daemon, "example");
    const file = join(daemon.folder, "image.raw");
    await writeFile(
      file,
      Buffer.concat([Buffer.alloc(1_048_576, 1), Buffer.alloc(8 * 1_048_576), Buffer.alloc(100, 2)]),
    );
    const upload = await run(process.execPath, [
      join(EXAMPLES, "upload-volume.ts"),
      `qemu:///system?socket=${daemon.socket}`,
      "example",
      "image.raw",
      file,
    ]);
    assert.match(upload.stdout, /image\.raw: 9437284 bytes, 1048676 of them sent/u);
    assert.equal((await stat(join(daemon.folder, "example/image.raw"))).size, 9_437_284);
  });

  test("the console example shows what the guest says, and ends at its key; the migration example names the refusal", async () => {
    const dom = await startGuest(qemu, "talker");
    const uri = `qemu:///system?socket=${daemon.socket}`;
    const child = spawn(process.execPath, [join(EXAMPLES, "serial-console.ts"), uri, dom.name], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const { promise: exited, resolve } = Promise.withResolvers<number | null>();
    child.once("exit", resolve);
    // What the firmware said before the console was open is gone: it is made to say it again.
    const again = setInterval(() => void qemu.remote.domainReset({ dom }).catch(() => undefined), 500);
    let text = "";
    for await (const chunk of child.stdout) {
      text += String(chunk);
      if (text.includes("SeaBIOS")) child.stdin.write(Buffer.of(0x1d));
    }
    clearInterval(again);
    assert.equal(await exited, 0);
    const migration = run(process.execPath, [
      join(EXAMPLES, "migrate-domain.ts"),
      uri,
      dom.name,
      "qemu+tcp://127.0.0.1:1/system",
    ]);
    await assert.rejects(migration, /VIR_ERR_\w+ from VIR_FROM_\w+: .*127\.0\.0\.1/u);
    await qemu.remote.domainDestroy({ dom });
  });

  test("the event example shows an event and ends at a signal", async () => {
    const child = spawn(
      process.execPath,
      [join(EXAMPLES, "watch-event.ts"), `test:///default?socket=${daemon.socket}`],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    let text = "";
    const { promise: exited, resolve } = Promise.withResolvers<number | null>();
    child.once("exit", resolve);
    const { net } = await fake.remote.networkLookupByName({ name: "default" });
    for await (const chunk of child.stdout) {
      text += String(chunk);
      if (text.includes("network lifecycle")) {
        if (!child.killed) child.kill("SIGTERM");
      } else if (text.includes("watching")) {
        await fake.remote.networkDestroy({ net }).catch(() => undefined);
        await fake.remote.networkCreate({ net }).catch(() => undefined);
      }
    }
    assert.equal(await exited, 0);
    assert.match(text, /network lifecycle \{[\s\S]*default/u);
  });
});
