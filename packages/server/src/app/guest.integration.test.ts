/** One guest's life over REST on a real host: image uploaded, VM created, its console, screen and files, two clients at once, deleted. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { Value } from "typebox/value";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { Event } from "@innkeeper/contract/resource/event.ts";
import type { Problem } from "@innkeeper/contract/problem.ts";
import { Image } from "@innkeeper/contract/resource/image.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { Vm, VmStatistics } from "@innkeeper/contract/resource/vm.ts";
import { ServerProcess } from "#app/test-support/server-process.ts";
import { stateLayout } from "#core/state-layout.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

const bootTimeoutMs = 90_000;

describe("a guest over REST", () => {
  let lab: Lab;
  let folder: string;
  let server: ServerProcess;
  let password: string;
  let imageFile: Buffer;
  let vm: Vm;

  before(async () => {
    await Lab.down("rest");
    const [made, image] = await Promise.all([Lab.up({ name: "rest", hostCount: 1 }), guestImage()]);
    lab = made;
    imageFile = await readFile(image.path);
    const [caCertificate, clientCertificate, clientKey] = await Promise.all(
      [lab.clientTls.ca, lab.clientTls.cert, lab.clientTls.key].map((file) => readFile(file, "utf8")),
    );
    folder = await mkdtemp(path.join(tmpdir(), "inn-guest-lab-"));
    server = await ServerProcess.start(folder);
    password = server.firstPassword ?? "";
    await server.login(password);
    const tls = { caCertificate, clientCertificate, clientKey };
    await server.succeed("POST", "/hosts", { uri: lab.host("h1").uri, name: "h1", tls });
  });

  after(async () => {
    await server?.end("SIGKILL");
    await lab?.down();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  function send(where: string, init: RequestInit): Promise<Response> {
    return fetch(`${server.url}/api/v1${where}`, {
      ...init,
      headers: { authorization: `Bearer ${server.token}`, ...(init.headers as Record<string, string>) },
      signal: AbortSignal.timeout(60_000),
    });
  }

  const octets = { "content-type": "application/octet-stream" };
  const upload = (query: string, body: Buffer) =>
    send(`/images?pool=local&host=h1&${query}`, { method: "PUT", headers: octets, body });

  test("an image is uploaded whole and checked; what is none, or another's sum, leaves nothing", async () => {
    const sha256 = createHash("sha256").update(imageFile).digest("hex");
    const wrongSum = await upload(`name=wrong&sizeBytes=${imageFile.length}&sha256=${"0".repeat(64)}`, imageFile);
    assert.equal(wrongSum.status, 422);
    const short = await upload(`name=short&sizeBytes=${imageFile.length + 1}`, imageFile);
    assert.equal(short.status, 400);
    const answer = await upload(`name=tiny&sizeBytes=${imageFile.length}&sha256=${sha256}`, imageFile);
    const image: unknown = await answer.json();
    assert.equal(answer.status, 201, JSON.stringify(image));
    assert.ok(Value.Check(Image, image));
    assert.equal(image.sha256, sha256);
    const volumes = await server.call<{ items: Volume[] }>("GET", "/volumes");
    assert.deepEqual(
      volumes.items.map((volume) => volume.name),
      [image.volumeName],
    );
  });

  test("a VM is made of it and boots: its serial console says so", { timeout: 120_000 }, async (t) => {
    const startMs = performance.now();
    const created = await server.succeed("POST", "/vms", {
      name: "中文 guest",
      memory: { sizeMiB: 192 },
      disks: [{ image: "tiny", linked: true }],
      nics: [{ network: "default" }],
      graphics: "vnc",
      start: true,
    });
    t.diagnostic(`created and started in ${Math.round(performance.now() - startMs)} ms`);
    vm = await server.call<Vm>("GET", `/vms/${String(created.result?.["vmId"])}`);
    assert.ok(Value.Check(Vm, vm));
    assert.equal(vm.state, "running");
    const text = await consoleText(/GUEST READY/);
    t.diagnostic(`booted after ${Math.round(performance.now() - startMs)} ms: ${JSON.stringify(text.slice(-80))}`);
  });

  test("its screen: a picture; VNC on another host's loopback is refused with the reason", async () => {
    const picture = await send(`/vms/${vm.id}/screenshot`, {});
    assert.equal(picture.headers.get("content-type"), "image/png");
    const bytes = Buffer.from(await picture.arrayBuffer());
    assert.equal(bytes.subarray(1, 4).toString(), "PNG");
    const vnc = await send(`/vms/${vm.id}/console?type=vnc`, {});
    assert.equal(vnc.status, 422);
    assert.match(await vnc.text(), /loopback.*ssh -L/s);
  });

  test("its counters and its XML are the host's", async () => {
    const statistics = await server.call<VmStatistics>("GET", `/vms/${vm.id}/statistics`);
    assert.ok(Value.Check(VmStatistics, statistics));
    assert.ok(statistics.cpuTimeNs > 0);
    const xml = await (await send(`/vms/${vm.id}/xml`, {})).text();
    assert.match(xml, new RegExp(`<uuid>${vm.uuid}</uuid>`));
  });

  test("of two clients that change it at once one wins, the other is told what changed", async () => {
    const { revision } = await server.call<Vm>("GET", `/vms/${vm.id}`);
    const change = (description: string) =>
      send(`/vms/${vm.id}?waitMs=30000`, {
        method: "PATCH",
        headers: { "content-type": "application/json", "if-match": `"${revision}"` },
        body: JSON.stringify({ description }),
      });
    const answers = await Promise.all([change("one"), change("two")]);
    assert.deepEqual(answers.map((answer) => answer.status).toSorted(), [202, 412]);
    const late = await change("three");
    assert.equal(late.status, 412);
    const problem = (await late.json()) as Problem;
    const { items } = await server.call<{ items: Task[] }>("GET", "/tasks?filter=operation%3Dvm.change");
    const winner = items.find(({ state }) => state === "succeeded");
    const { before, ...description } = problem.changes?.find(({ field }) => field === "description") ?? { field: "" };
    assert.equal(before, "");
    assert.ok(["one", "two"].includes(String(description.after)), JSON.stringify(problem));
    const told = { by: winner?.createdBy, at: winner?.finishedAt, taskId: winner?.id };
    assert.deepEqual(description, { field: "description", after: description.after, ...told });
  });

  test("while it is reverted another's change with its ETag is refused, and is told of the task", async (t) => {
    const made = await server.succeed("POST", `/vms/${vm.id}/snapshots`, { name: "before" });
    const snapshot = `/snapshots/${String(made.result?.["snapshotId"])}`;
    const { revision } = await server.call<Vm>("GET", `/vms/${vm.id}`);
    const task = await server.call<Task>("POST", `${snapshot}/revert`);
    const change = async (): Promise<string> => {
      const headers = { "content-type": "application/json", "if-match": `"${revision}"` };
      const late = await send(`/vms/${vm.id}`, { method: "PATCH", headers, body: '{"description":"late"}' });
      assert.equal(late.status, 412);
      return await late.text();
    };
    assert.match(await change(), new RegExp(task.id));
    await t.waitFor(
      async () => assert.equal((await server.call<Task>("GET", `/tasks/${task.id}`)).state, "succeeded"),
      {
        interval: 100,
        timeout: 60_000,
      },
    );
    assert.match(await change(), new RegExp(task.id));
    await server.succeed("DELETE", snapshot);
  });

  test("a volume's content comes back as it is", async () => {
    const { items } = await server.call<{ items: Volume[] }>("GET", "/volumes?sort=name");
    const volume = items.find((each) => each.backingPath === undefined);
    const answer = await send(`/volumes/${volume?.id}/content`, {});
    const content = Buffer.from(await answer.arrayBuffer());
    assert.equal(
      createHash("sha256").update(content).digest("hex"),
      createHash("sha256").update(imageFile).digest("hex"),
    );
  });

  test("it is deleted with its disk, and its life is in the events", async () => {
    await assert.rejects(server.call("DELETE", `/vms/${vm.id}`), /409/, "it runs");
    await server.succeed("DELETE", `/vms/${vm.id}?deleteDisks=true&force=true`);
    assert.equal((await send(`/vms/${vm.id}`, {})).status, 404);
    assert.equal((await lab.host("h1").exec(["virsh", "list", "--all", "--name"])).stdout.trim(), "");
    const { items } = await server.call<{ items: Volume[] }>("GET", "/volumes");
    assert.equal(items.length, 1, "the image stays");
    const events = await server.call<{ items: Event[] }>("GET", "/events?limit=200");
    const types = new Set(events.items.map((event) => event.type));
    for (const type of ["host.connected", "task.succeeded", "vm.started", "user.logged-in"])
      assert.ok(types.has(type), type);
  });

  test("killed in the middle of an upload it removes what has come, and the same upload then works", async (t) => {
    const host = lab.host("h1");
    const disk = Buffer.alloc(32 * 2 ** 20, "no image, but a boot sector. ");
    disk.set([0x55, 0xaa], 510);
    const query = `name=cut&sizeBytes=${disk.length}`;
    const written = async (): Promise<string> =>
      (await host.exec(["find", "/var/lib/libvirt/images", "-name", "cut-*", "-printf", "%b blocks\n"])).stdout.trim();
    const hanging = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(disk.subarray(0, disk.length / 2)),
      pull: () => new Promise(() => {}),
    });
    const headers = { ...octets, "content-length": String(disk.length) };
    const init = { method: "PUT", headers, body: hanging, duplex: "half" } as RequestInit;
    const broken = assert.rejects(send(`/images?pool=local&host=h1&${query}`, init), TypeError);
    await t.waitFor(async () => assert.match(await written(), /^[1-9]\d* blocks$/), { interval: 100, timeout: 30_000 });
    await server.end("SIGKILL");
    await broken;
    assert.match(await written(), /^[1-9]\d* blocks$/);
    assert.equal((await uploadsUnderWay()).length, 1);

    server = await ServerProcess.start(folder);
    await server.login(password);
    const removed = async (): Promise<void> => {
      // libvirtd 9.0 itself may crash when a client with calls under way is killed; on real hosts systemd starts it again.
      await host
        .exec(["sh", "-c", "kill -0 $(cat /run/libvirtd.pid)"])
        .catch(() => host.startLibvirtd(AbortSignal.timeout(60_000)));
      assert.equal(await written(), "");
    };
    await t.waitFor(removed, { interval: 500, timeout: 90_000 });
    const again = await upload(query, disk);
    assert.equal(again.status, 201, await again.text());
    await server.end("SIGTERM");
    assert.deepEqual(await uploadsUnderWay(), []);
  });

  /** As they are stored; while no server runs. */
  async function uploadsUnderWay(): Promise<readonly unknown[]> {
    await using store = await openSqliteStore({ file: stateLayout(folder).store });
    return store.transaction((transaction) => transaction.listPrivate("image-upload"));
  }

  /** What the serial console says until it matches. */
  async function consoleText(pattern: RegExp): Promise<string> {
    const url = `${server.url.replace("http", "ws")}/api/v1/vms/${vm.id}/console?type=serial`;
    const socket = new WebSocket(url, { headers: { authorization: `Bearer ${server.token}` } });
    socket.binaryType = "arraybuffer";
    let text = "";
    try {
      await new Promise<void>((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`in vain: ${JSON.stringify(text)}`)), bootTimeoutMs);
        socket.addEventListener("message", ({ data }) => {
          text += Buffer.from(data as ArrayBuffer).toString();
          if (!pattern.test(text)) return;
          clearTimeout(late);
          resolve();
        });
        socket.addEventListener("close", ({ code, reason }) => reject(new Error(`closed: ${code} ${reason}`)));
        socket.addEventListener("error", () => reject(new Error("refused")));
      });
    } finally {
      socket.close();
    }
    return text;
  }
});
