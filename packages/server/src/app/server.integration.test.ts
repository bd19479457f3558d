/** The whole control plane, as a process, with real hosts: added, seen, followed, killed, taken up again. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { Value } from "typebox/value";
import { Lab } from "@innkeeper/lab/lab.ts";
import { waitFor } from "@innkeeper/lab/wait.ts";
import type { LabHost } from "@innkeeper/lab/host.ts";
import type { Endpoint } from "@innkeeper/contract/endpoint/endpoint.ts";
import { hostEndpoint } from "@innkeeper/contract/endpoint/host.ts";
import { endpoint } from "@innkeeper/contract/endpoint/table.ts";
import { vmEndpoint } from "@innkeeper/contract/endpoint/vm.ts";
import type { Event } from "@innkeeper/contract/resource/event.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { ServerProcess } from "#app/test-support/server-process.ts";

interface Change {
  readonly kind: string;
  readonly revision: number;
  readonly resource?: Vm & Host & Task & Event;
}

/** A guest without a disk: its BIOS finds nothing to boot and waits. */
function domainXml(name: string): string {
  return `<domain type='qemu'><name>${name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
    <os><type arch='x86_64' machine='q35'>hvm</type></os><devices><memballoon model='none'/></devices></domain>`;
}

function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  return waitFor(what, look, { timeoutMs: 20_000 });
}

describe("control plane", () => {
  let lab: Lab;
  let folder: string;
  let server: ServerProcess;
  let h1: LabHost;
  let tls: object;

  before(async () => {
    await Lab.down("server");
    lab = await Lab.up({ name: "server", hostCount: 2 });
    h1 = lab.host("h1");
    const [caCertificate, clientCertificate, clientKey] = await Promise.all(
      [lab.clientTls.ca, lab.clientTls.cert, lab.clientTls.key].map((file) => readFile(file, "utf8")),
    );
    tls = { caCertificate, clientCertificate, clientKey };
    folder = await mkdtemp(path.join(tmpdir(), "inn-server-lab-"));
    await h1.exec(["sh", "-c", "cat > /run/old.xml && virsh -q define /run/old.xml"], { input: domainXml("old") });
    server = await ServerProcess.start(folder);
    assert.ok(server.firstPassword);
    await server.login(server.firstPassword);
  });

  after(async () => {
    await server?.end("SIGKILL");
    await lab?.down();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  /** Starts it again on the same state, with the same session. */
  async function restart(environment = {}): Promise<void> {
    const { token } = server;
    server = await ServerProcess.start(folder, environment);
    server.token = token;
  }

  const hostNamed = async (name: string): Promise<Host | undefined> =>
    (await server.call<{ items: Host[] }>("GET", `/hosts?filter=name=${name}`)).items[0];
  const vmNamed = async (name: string): Promise<Vm | undefined> =>
    (await server.call<{ items: Vm[] }>("GET", `/vms?filter=name=${name}`)).items[0];
  const connected = (name: string) =>
    until(`${name} is connected`, async () =>
      (await hostNamed(name))?.connectionState === "connected" ? true : undefined,
    );

  const openWatch = (since: number): Promise<Response> =>
    fetch(`${server.url}/api/v1/watch?since=${since}`, {
      headers: { authorization: `Bearer ${server.token}` },
      signal: AbortSignal.timeout(60_000),
    });

  async function* watch(since: number): AsyncGenerator<Change> {
    const response = await openWatch(since);
    let text = "";
    for await (const chunk of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
        const [, data] = /^data: (.*)$/m.exec(text.slice(0, end)) ?? [];
        text = text.slice(end + 2);
        if (data !== undefined) yield JSON.parse(data) as Change;
      }
    }
  }

  test("hosts are added, checked and inventoried; what runs on them is there", async () => {
    for (const { name, uri } of lab.hosts) {
      const task = await server.succeed("POST", "/hosts", { uri, name, tls });
      assert.equal(typeof task.result?.["hostId"], "string");
    }
    const host = await hostNamed("h1");
    assert.equal(host?.hardware?.uuid, h1.uuid);
    assert.ok((host?.hardware?.cpuCount ?? 0) >= 1);
    assert.equal((await vmNamed("old"))?.managed, false);
    await assert.rejects(server.call("POST", "/hosts", { uri: h1.uri, tls }), /409/);
    const store = await readFile(path.join(folder, "store.sqlite"));
    const wal = await readFile(path.join(folder, "store.sqlite-wal"));
    for (const file of [store, wal]) assert.ok(!file.includes("PRIVATE KEY"), "keys are encrypted in the store");
  });

  test("what virsh does is on /watch, told by libvirt's event and not by a periodic reading", async (t) => {
    const { revision } = await server.call<{ revision: number }>("GET", "/system");
    const seen = (async () => {
      const missing = new Set(["vm running", "event vm.started"]);
      for await (const { kind, resource } of watch(revision)) {
        if (kind === "vm" && resource?.name === "old") missing.delete(`vm ${resource.state}`);
        // Only libvirt's own events become such resources.
        if (kind === "event") missing.delete(`event ${resource?.type}`);
        if (missing.size === 0) return performance.now();
      }
      throw new Error(`the stream ended without ${[...missing].join(", ")}`);
    })();
    await h1.exec(["virsh", "start", "old"]);
    const startedMs = performance.now();
    t.diagnostic(`seen ${((await seen) - startedMs).toFixed(0)} ms after virsh returned`);
    const stopped = await server.succeed("POST", `/vms/${(await vmNamed("old"))?.id}/force-off`);
    assert.equal(stopped.operation, "vm.force-off");
    assert.equal((await h1.exec(["virsh", "domstate", "old"])).stdout.trim(), "shut off");
  });

  test("what is answered is what the contract says", async () => {
    const vm = await vmNamed("old");
    const host = await hostNamed("h1");
    let checked = 0;
    for (const [operationId, each] of Object.entries<Endpoint>(endpoint)) {
      const isRead = each.method === "GET" && each.response !== undefined && operationId !== "systemOpenapi";
      // The guest is off: these refuse.
      if (!isRead || operationId === "vmGuest" || operationId === "vmStatistics") continue;
      const list = await server.call<{ items?: { id: string }[] }>("GET", each.path.replace(/\/\{\w+\}.*$/, ""));
      const [first] = list.items ?? [];
      if (each.path.includes("{") && first === undefined) continue;
      const where = each.path.replace(/\{\w+\}/, first?.id ?? "");
      const answer = each.path.includes("{") ? await server.call("GET", where) : list;
      const [fault] = Value.Errors(each.response ?? {}, answer);
      assert.equal(fault, undefined, `${operationId}: ${JSON.stringify(fault)}`);
      checked++;
    }
    assert.ok(checked > 15, `${checked}`);
    assert.ok(Value.Check(vmEndpoint.vmGet.response, vm));
    assert.ok(Value.Check(hostEndpoint.hostGet.response, host));
  });

  test("killed in the middle of a task it takes the task up at its next start, and is connected again", async () => {
    const host = await hostNamed("h1");
    await server.end("SIGTERM");
    await restart({ INN_CRASH_AT: "vm.start/act/before" });
    await connected("h1");
    const vm = await vmNamed("old");
    await server.call("POST", `/vms/${vm?.id}/start`).catch(() => undefined);
    assert.equal(await server.exited, "SIGKILL");
    await restart();
    const task = await until("the task is finished", async () => {
      const page = await server.call<{ items: Task[] }>("GET", "/tasks?filter=operation=vm.start&limit=1");
      return page.items[0]?.state === "succeeded" ? page.items[0] : undefined;
    });
    assert.equal(task.target?.id, vm?.id);
    assert.equal((await vmNamed("old"))?.state, "running");
    await connected("h2");
    assert.equal((await hostNamed("h1"))?.id, host?.id);
  });

  test("a host whose daemon dies is told apart, its VMs become unknown, and both come back", async () => {
    await h1.killLibvirtd();
    await until("h1 is lost", async () =>
      (await hostNamed("h1"))?.connectionState === "connected" ? undefined : true,
    );
    await until("its VM is unknown", async () => ((await vmNamed("old"))?.state === "unknown" ? true : undefined));
    await assert.rejects(server.call("GET", `/vms/${(await vmNamed("old"))?.id}/statistics`), /502/);
    await h1.startLibvirtd();
    await connected("h1");
    await until("its VM is known", async () => ((await vmNamed("old"))?.state === "running" ? true : undefined));
  });

  test("SIGTERM ends it cleanly, whoever watches", async () => {
    const { revision } = await server.call<{ revision: number }>("GET", "/system");
    const { body } = await openWatch(revision);
    assert.equal(await server.end("SIGTERM"), 0);
    await body?.cancel().catch(() => undefined);
  });
});
