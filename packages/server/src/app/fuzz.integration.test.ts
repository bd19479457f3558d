/**
 * 10,000 requests made from the endpoint table about what exists on simulated hosts: pools, volumes, images, networks, VMs
 * that run and that are off, snapshots. Requests that are right do their work there, also on what others are taking away:
 * nothing answers or ends as an internal error, what can't be done is said by its name, and the control plane is then as
 * able as before.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Endpoint } from "@innkeeper/contract/endpoint/endpoint.ts";
import { endpoint } from "@innkeeper/contract/endpoint/table.ts";
import type { Problem } from "@innkeeper/contract/problem.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { errorsInto, runFuzz, shuffled } from "#rest/test-support/fuzz-run.ts";
import { type FuzzRequest, type Known, requestsOf } from "#rest/test-support/request-generator.ts";
import { type ListeningSimHost, listeningSimHost } from "./test-support/sim-host.ts";
import { startTestServer, type TestServer } from "./test-support/test-server.ts";

const total = 10_000;
const seed = Number(process.env["INN_FUZZ_SEED"] ?? 20_261_123);
const mib = 1 << 20;
/** About users, this machine and other hosts: in rest/fuzz.test.ts, without hosts. */
const elsewhere = /^\/(users|tokens|login|logout|me|system|health|openapi|audit|metrics|watch|events)/;
/** So many of each noun to begin with, that what is deleted in the course of it leaves something. */
const copies = 6;
/** Of what takes something away, or waits for what is not there: so many of each. */
const rare = 20;
/** What may answer 5xx: a pool has no space for what is asked for, and no simulated guest's screen has a VNC server. */
const isAllowed = ({ code, detail = "" }: Problem, operationId: string): boolean =>
  code === "disk_full" || (operationId === "vmConsole" && /VNC server can't be reached/.test(detail));

describe("generated requests about what exists", { timeout: 300_000 }, () => {
  const errors: string[] = [];
  let sims: ListeningSimHost[];
  let server: TestServer;

  before(async () => {
    const timing = { startMs: 2, bootMs: 5, shutdownMs: 5 };
    sims = await Promise.all([1, 2].map((each) => listeningSimHost({ name: `h${each}`, seed: each, timing })));
    server = await startTestServer({ log: errorsInto(errors) });
    for (const { host, uri } of sims) await done("POST", "/hosts", { uri, name: host.name });
  });
  after(async () => {
    await server?.[Symbol.asyncDispose]();
    for (const sim of sims ?? []) await sim[Symbol.asyncDispose]();
  });

  async function done(method: string, path: string, body?: unknown): Promise<Task> {
    const { body: task, status } = await server.admin(method, `${path}?waitMs=20000`, body);
    assert.equal(`${status} ${String(task["state"])}`, "202 succeeded", JSON.stringify(task));
    return task as unknown as Task;
  }
  async function idsOf(noun: string): Promise<string[]> {
    const { body } = await server.admin("GET", `/${noun}?fields=id&limit=1000`);
    return (body["items"] as { id: string }[]).map(({ id }) => id);
  }

  /** Something of everything, and by which ids it is known. */
  async function population(): Promise<Known> {
    const pools = await idsOf("pools");
    for (let index = 0; index < copies; index++) {
      const place = { host: `h${1 + (index % 2)}` };
      const subnet = `10.${10 + index}.0.1/24`;
      await done("POST", "/networks", { ...place, name: `net${index}`, forwardMode: "nat", address: subnet });
      await done("POST", "/pools", { ...place, name: `pool${index}`, type: "dir", path: `/srv/pool${index}` });
      const volume = { poolId: pools[index % 2], capacityBytes: mib, format: "qcow2" };
      await done("POST", "/volumes", { ...volume, name: `volume${index}.qcow2` });
      const { result } = await done("POST", "/volumes", { ...volume, name: `image${index}.qcow2` });
      const image = await server.admin("POST", "/images", { name: `image${index}`, volumeId: result?.["volumeId"] });
      assert.equal(image.status, 201, JSON.stringify(image.body));
      const disks = [{ capacityBytes: 8 * mib, pool: "local" }];
      const hardware = { memory: { sizeMiB: 64 }, disks, nics: [{ network: "default" }], guestAgent: true };
      for (const start of [true, false]) {
        const made = await done("POST", "/vms", {
          ...place,
          ...hardware,
          name: `vm${index}${start ? "on" : ""}`,
          start,
        });
        const where = `/vms/${String(made.result?.["vmId"])}/snapshots`;
        for (const name of ["one", "two"]) await done("POST", where, { name, memory: start && name === "one" });
      }
    }
    await server.admin("POST", "/clusters", { name: "cluster0" });
    await server.admin("POST", "/clusters", { name: "cluster1" });
    const nouns = ["cluster", "host", "vm", "snapshot", "pool", "volume", "image", "network", "task"];
    const ids = await Promise.all(nouns.map(async (noun) => [`${noun}Id`, await idsOf(`${noun}s`)] as const));
    const clusters = { cluster: ["cluster0", "cluster1"] };
    const names = {
      ...clusters,
      host: ["h1", "h2"],
      pool: ["local"],
      network: ["default", "net0"],
      image: ["image0", "image5"],
    };
    return { ...Object.fromEntries(ids), ...names };
  }

  async function tasks(filter: string): Promise<Task[]> {
    const { body } = await server.admin("GET", `/tasks?limit=${total}&filter=${filter}`);
    return body["items"] as Task[];
  }
  /** None is left under way: what still waits for something is cancelled. */
  async function endedTasks(): Promise<Task[]> {
    for (const { id } of await tasks("finishedAt=null")) {
      await server.admin("POST", `/tasks/${id}/cancel`);
      const { body } = await server.admin("GET", `/tasks/${id}?waitMs=20000`);
      assert.ok(body["finishedAt"] !== undefined, JSON.stringify(body));
    }
    return tasks("finishedAt!=null");
  }

  test(`${total} requests (seed ${seed})`, async (t) => {
    const known = await population();
    const requests = shuffled(allRequests(known), seed);
    assert.ok(requests.length >= total, `${requests.length}`);
    const mayBreakOff = new Set(["volumeDownload"]);
    const run = { url: server.url, tokenFor: () => server.token, errors, mayBreakOff };
    const outcomes = await runFuzz({ ...run, requests: requests.filter((each) => !isLate(each)), isAllowed });
    const ended = await endedTasks();
    t.diagnostic(`${JSON.stringify([...outcomes])}, ${ended.length} tasks`);
    assert.ok((outcomes.get("2xx") ?? 0) > total / 8, JSON.stringify([...outcomes]));
    assert.ok(ended.filter(({ state }) => state === "succeeded").length > total / 30, `${ended.length} tasks`);
    // It can do as before what it did before.
    const [host] = known["hostId"] ?? [];
    assert.equal((await server.admin("PATCH", `/hosts/${host}`, { maintenance: false })).status, 200);
    const { result } = await done("POST", "/vms", { name: "last", host, memory: { sizeMiB: 64 }, start: true });
    await done("POST", `/vms/${String(result?.["vmId"])}/force-off`);
    await done("DELETE", `/vms/${String(result?.["vmId"])}`);
    const mayBeAway = (problem: Problem, operationId: string): boolean =>
      problem.code === "host_unreachable" || isAllowed(problem, operationId);
    await runFuzz({ ...run, requests: requests.filter(isLate), isAllowed: mayBeAway });
    const internal = (await endedTasks()).filter(({ error }) => error?.code === "internal");
    assert.deepEqual(internal, []);
    assert.deepEqual(errors, []);
    assert.equal((await server.admin("GET", "/health")).status, 200);
  });
});

/** They take the hosts away from under all others. */
function isLate({ operationId }: FuzzRequest): boolean {
  return /^host(Reconnect|Remove)$/.test(operationId);
}

function isRare([operationId, { method }]: readonly [string, Endpoint]): boolean {
  return method === "DELETE" || /^host(Add|Reconnect|Refresh)$/.test(operationId);
}

function allRequests(known: Known): FuzzRequest[] {
  const all = Object.entries<Endpoint>(endpoint).filter(([, { path }]) => !elsewhere.test(path));
  const rareCount = all.filter(isRare).length * rare;
  const count = Math.ceil((total - rareCount) / (all.length - all.filter(isRare).length));
  const requests = all.flatMap((each, index) =>
    requestsOf(each, { count: isRare(each) ? rare : count, seed: seed + index, known, favour: 4 }),
  );
  // Many at once, which get into each other's way, instead of one after the other.
  return requests.map((each) => ({ ...each, target: each.target.replace(/waitMs=\d{3,}/, "waitMs=99") }));
}
