/**
 * Hostile input where it reaches hosts: generated requests against a host of libvirt's test driver, a disk that its guest
 * made look like another, and a name with everything that a name may have, from its creation over snapshots and migration
 * to its end.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import { type Endpoint } from "@innkeeper/contract/endpoint/endpoint.ts";
import { endpoint } from "@innkeeper/contract/endpoint/table.ts";
import type { Problem } from "@innkeeper/contract/problem.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { errorsInto, runFuzz, shuffled } from "#rest/test-support/fuzz-run.ts";
import { type FuzzRequest, type Known, requestsOf } from "#rest/test-support/request-generator.ts";
import { labAccess } from "./test-support/control-plane.ts";
import { startTestServer, type TestServer } from "./test-support/test-server.ts";

const seed = Number(process.env["INN_FUZZ_SEED"] ?? 20_261_123);
const fuzzCount = 1500;
/** 200 characters and 200 bytes are the most; every script, and all signs that are no danger. */
const oddName = `my vm 中文 😀 100% #1; $HOME & co (é) [x]{y}=z,`.replace("& ", "").padEnd(186, "~");

interface Named {
  readonly id: string;
  readonly name: string;
  readonly hostId?: string;
}

/** What the test driver can't do is its own word; its pools have little space. */
const isAllowed = ({ code }: Problem): boolean => code === "host_failed" || code === "disk_full";

describe("hostile input on hosts", { timeout: 900_000 }, () => {
  let lab: Lab;
  let server: TestServer;
  const errors: string[] = [];

  before(async () => {
    lab = await Lab.up({ name: `hostile-${process.pid}`, hostCount: 2 });
    server = await startTestServer({ log: errorsInto(errors) });
    const { hosts, tls } = await labAccess(lab);
    for (const { name, uri } of hosts) await succeed("POST", "/hosts", { name, uri, tls });
    const [first] = hosts;
    const testUri = new URL(first?.uri ?? "");
    await succeed("POST", "/hosts", { name: "test", uri: `test+tls://${testUri.host}/default`, tls });
  });
  after(async () => {
    await server?.[Symbol.asyncDispose]();
    await lab?.down();
  });

  async function list(noun: string, filter = ""): Promise<Named[]> {
    const { body } = await server.admin("GET", `/${noun}?limit=1000&filter=${encodeURIComponent(filter)}`);
    return body["items"] as Named[];
  }
  /** The task, ended. */
  async function run(method: string, path: string, body?: unknown): Promise<Task> {
    const separator = path.includes("?") ? "&" : "?";
    const answer = await server.admin(method, `${path}${separator}waitMs=60000`, body);
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    return answer.body as unknown as Task;
  }
  async function succeed(method: string, path: string, body?: unknown): Promise<Task> {
    const task = await run(method, path, body);
    assert.equal(task.state, "succeeded", JSON.stringify(task.error));
    return task;
  }
  async function idOf(noun: string, name: string, hostId?: string): Promise<string> {
    const found = (await list(noun)).find((each) => each.name === name && (hostId ?? each.hostId) === each.hostId);
    assert.ok(found, `${noun} ${name}`);
    return found.id;
  }

  test("a name with everything works from creation to deletion", async () => {
    assert.ok(oddName.length <= 200 && Buffer.byteLength(oddName) <= 200);
    const h1 = await idOf("hosts", "h1");
    const pool = await idOf("pools", "shared", h1);
    assert.equal((await server.admin("PATCH", `/pools/${pool}`, { shared: true })).status, 200);
    const disks = [{ capacityBytes: 8 * 2 ** 20, pool: "shared" }];
    const request = {
      name: oddName,
      host: "h1",
      memory: { sizeMiB: 64 },
      disks,
      start: true,
      description: '"<&>\u4e2d',
    };
    await succeed("POST", "/vms", request);
    const [vm] = await list("vms", `name=${JSON.stringify(oddName)}`);
    assert.equal(vm?.name, oddName);
    await succeed("POST", `/vms/${vm.id}/snapshots`, { name: oddName, description: "<&>", memory: true });
    await succeed("POST", `/vms/${vm.id}/clone`, { name: `${oddName.slice(0, -2)}2`, linked: true });
    await succeed("POST", `/vms/${vm.id}/migrate`, { host: "h2" });
    const moved = await server.admin("GET", `/vms/${vm.id}`);
    assert.deepEqual([moved.body["name"], moved.body["state"]], [oddName, "running"]);
    assert.equal(moved.body["hostId"], await idOf("hosts", "h2"));
    const said = await lab.host("h2").exec(["virsh", "-q", "list", "--name"]);
    assert.equal(said.stdout.trim(), oddName);
    const clone = await idOf("vms", `${oddName.slice(0, -2)}2`);
    await succeed("POST", `/vms/${clone}/rename`, { name: `${oddName.slice(0, -2)}3` });
    for (const id of [clone, vm.id]) await succeed("DELETE", `/vms/${id}?deleteDisks=true&force=true`);
    for (const { id, name } of await list("pools")) {
      if (name === "shared") assert.equal((await server.admin("POST", `/pools/${id}/refresh`)).status, 200);
    }
    assert.deepEqual(await list("volumes", `name~my-vm`), []);
    assert.deepEqual(errors, []);
  });

  test("a raw disk that its guest made look like an overlay on a file of the host gives that file to nobody", async () => {
    const h1 = await idOf("hosts", "h1");
    const pool = await idOf("pools", "shared", h1);
    const disks = [{ capacityBytes: 8 * 2 ** 20, pool: "shared", format: "raw" }];
    await succeed("POST", "/vms", { name: "mallory", host: "h1", memory: { sizeMiB: 64 }, disks });
    const vmId = await idOf("vms", "mallory");
    const { body } = await server.admin("GET", `/vms/${vmId}`);
    const [disk] = (body["spec"] as { disks: { source: string }[] }).disks;
    const file = disk?.source ?? "";
    // As the guest would write it onto its disk.
    const forged = "/run/forged.qcow2";
    await lab
      .host("h1")
      .exec(["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", forged, "8M"]);
    await lab.host("h1").exec(["dd", `if=${forged}`, `of=${file}`, "conv=notrunc", "status=none"]);
    assert.equal((await server.admin("POST", `/pools/${pool}/refresh`)).status, 200);
    const clone = await run("POST", `/vms/${vmId}/clone`, { name: "copy" });
    assert.equal(`${clone.state} ${clone.error?.code}`, "failed conflict", JSON.stringify(clone.error));
    await succeed("DELETE", `/vms/${vmId}`);
    const volume = (await list("volumes")).find((each) => file.endsWith(`/${each.name}`));
    assert.ok(volume);
    const attach = { name: "reader", host: "h1", memory: { sizeMiB: 64 }, disks: [{ volumeId: volume.id }] };
    const refused = await server.admin("POST", "/vms", attach);
    assert.deepEqual([refused.status, refused.body["field"]], [422, "disks[0].volumeId"]);
    const image = await server.admin("POST", "/images", { name: "leak", volumeId: volume.id });
    assert.deepEqual([image.status, image.body["field"]], [422, "volumeId"]);
    await succeed("DELETE", `/volumes/${volume.id}`);
    assert.deepEqual(errors, []);
  });

  test(`${fuzzCount} generated requests about a host of libvirt's test driver (seed ${seed})`, async () => {
    const host = await idOf("hosts", "test");
    const of = async (noun: string): Promise<string[]> =>
      (await list(noun)).filter((each) => each.hostId === host).map((each) => each.id);
    const known: Known = {
      vmId: await of("vms"),
      poolId: await of("pools"),
      networkId: await of("networks"),
      volumeId: await of("volumes"),
    };
    assert.ok((known["vmId"] ?? []).length > 0);
    const all = Object.entries<Endpoint>(endpoint).filter(([, { path }]) =>
      /\{(vm|pool|network|volume)Id\}/.test(path),
    );
    const count = Math.ceil(fuzzCount / all.length);
    const requests = all.flatMap((each, index) => requestsOf(each, { count, seed: seed + index, known }));
    const tokenFor = (_request: FuzzRequest): string => server.token;
    const outcomes = await runFuzz({
      url: server.url,
      requests: shuffled(requests, seed),
      tokenFor,
      errors,
      isAllowed,
    });
    assert.ok((outcomes.get("4xx") ?? 0) > fuzzCount / 3, JSON.stringify([...outcomes]));
    assert.equal((await server.admin("GET", "/health")).status, 200);
    assert.deepEqual(errors, []);
  });
});
