/** What each cmdlet asks of the API, by a server that only notes it: path, query and body, to the letter. */
import assert from "node:assert/strict";
import { mkdtempDisposable } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import type { OperationId } from "@innkeeper/contract/endpoint/table.ts";
import { route } from "#generated/route.ts";
import { cmdlets } from "#powercli/table.ts";
import { captured } from "#test-support/captured.ts";

const vmId = "vm-000000000000";
const hostId = "host-000000000000";
const clusterId = "cluster-000000000000";
const poolId = "pool-000000000000";
const volumeId = "vol-000000000000";
const snapshotId = "snap-000000000000";
const taskId = "task-000000000000";
const mac = "52:54:00:00:00:01";

const cpu = { count: 2 };
const vm = {
  id: vmId,
  name: "web",
  revision: 1,
  hostId,
  uuid: "u",
  state: "running",
  stateDetail: "",
  description: "",
  tags: [],
  folder: "Production/Web",
  template: false,
  persistent: true,
  managed: true,
  pendingChanges: [],
  addresses: [],
  guestAgentConnected: true,
  currentSnapshotId: null,
  createdAt: "2026-01-01T00:00:00Z",
  spec: {
    cpu,
    memory: { sizeMiB: 1024 },
    disks: [
      { target: "vda", device: "disk", bus: "virtio", source: "/pool/web.qcow2", sourceType: "file" },
      { target: "sda", device: "cdrom", bus: "sata", sourceType: "file" },
    ],
    nics: [{ mac, type: "network", network: "default", model: "virtio" }],
  },
};
const host = {
  id: hostId,
  name: "kvm1",
  revision: 1,
  uri: "qemu:///system",
  description: "",
  tags: [],
  clusterId,
  maintenance: false,
  connectionState: "connected",
  connectionDetail: "",
  addedAt: "2026-01-01T00:00:00Z",
};
const pool = {
  id: poolId,
  name: "fast",
  revision: 1,
  hostId,
  type: "dir",
  state: "running",
  shared: false,
  capacityBytes: 1,
  allocationBytes: 0,
  availableBytes: 1,
};
const cluster = { id: clusterId, name: "c1", revision: 1, description: "", createdAt: "2026-01-01T00:00:00Z" };
const volume = {
  id: volumeId,
  name: "web.qcow2",
  path: "/pool/web.qcow2",
  revision: 1,
  hostId,
  poolId,
  format: "qcow2",
  capacityBytes: 2 ** 30,
  allocationBytes: 0,
};
const snapshot = {
  id: snapshotId,
  name: "s1",
  revision: 1,
  vmId,
  description: "",
  parentId: null,
  current: true,
  withMemory: false,
  quiesced: false,
  vmState: "shutoff",
  createdAt: "2026-01-01T00:00:00Z",
  disks: [],
};
const image = { id: "img-000000000000", name: "debian", revision: 1 };
const task = {
  id: taskId,
  revision: 1,
  operation: "vm.x",
  state: "succeeded",
  cancelRequested: false,
  message: "",
  progress: { done: 1, total: 1, unit: "step" },
  steps: [],
  createdBy: "admin",
  createdAt: "2026-01-01T00:00:00Z",
  result: { vmId, snapshotId },
};
const event = {
  id: "evt-000000000000",
  time: "2026-01-01T00:00:00Z",
  type: "x",
  severity: "info",
  message: "",
  resources: [],
};
const counters = { cpuTimeNs: 1, vcpus: [], memory: { balloonMiB: 1, maxMiB: 1 }, disks: [], nics: [] };
const lists: Readonly<Record<string, unknown>> = {
  vmList: vm,
  hostList: host,
  clusterList: cluster,
  poolList: pool,
  volumeList: volume,
  snapshotList: snapshot,
  imageList: image,
  taskList: task,
  eventList: event,
};
const single: Readonly<Record<string, unknown>> = {
  vmGet: vm,
  poolGet: pool,
  poolRefresh: pool,
  hostChange: host,
  clusterCreate: cluster,
  vmGuest: { users: [], fileSystems: [], interfaces: [] },
  login: { secret: "s", expiresAt: "2030-01-01T00:00:00Z", user: { name: "admin", role: "operator" } },
};

/** The request that changes something, or the last one that reads: `[operation, body or query]`. */
const requests: readonly (readonly [line: string, operation: OperationId, content?: unknown])[] = [
  ["Get-VM", "vmList", {}],
  ["Get-VM web*", "vmList", { filter: 'name~"web"' }],
  ["Get-Template", "vmList", {}],
  ["Get-VMHost", "hostList", {}],
  ["Get-VMHost -Location c1", "hostList", { filter: `clusterId=${clusterId}` }],
  ["Get-VM -Location c1", "hostList", { filter: `clusterId=${clusterId}` }],
  ["Get-VM -Location Production", "vmList", { filter: 'folder="Production" or folder~"Production/"' }],
  ["Get-Cluster", "clusterList", {}],
  ["Get-Cluster C*", "clusterList", { filter: 'name~"C"' }],
  ["Get-Cluster -VM web", "hostList", { filter: "clusterId!=null" }],
  ["New-Cluster x", "clusterCreate", { name: "x" }],
  ["Remove-Cluster c1 -Confirm:$false", "clusterDelete"],
  ["Move-VMHost kvm1 c1", "hostChange", { cluster: clusterId }],
  ["Move-VMHost kvm1 Datacenters", "hostChange", { cluster: null }],
  ["Get-Datastore", "poolList", {}],
  ["Get-Datastore -Refresh", "poolRefresh"],
  ["Get-HardDisk web", "volumeList", { filter: `hostId=${hostId} and path="/pool/web.qcow2"` }],
  ["Get-NetworkAdapter web", "vmList"],
  ["Get-CDDrive web", "vmList"],
  ["Get-VMGuest web", "vmGuest"],
  ["Get-Snapshot web", "snapshotList", { filter: `vmId=${vmId}` }],
  ["Get-Task", "taskList", {}],
  [`Get-Task -Id ${taskId}`, "taskGet"],
  [`Wait-Task ${taskId}`, "taskGet"],
  [`Stop-Task ${taskId} -Confirm:$false`, "taskCancel"],
  ["Get-VIEvent -Username pia", "eventList", { filter: 'user="pia"' }],
  ["Get-Stat web", "vmStatistics"],
  ["Connect-VIServer URL -User admin -Password x", "login", { name: "admin", password: "x" }],
  ["Disconnect-VIServer -Confirm:$false", "logout"],
  [
    "New-VM -Name x -ResourcePool kvm1 -Datastore fast",
    "vmCreate",
    {
      name: "x",
      memory: { sizeMiB: 256 },
      cpu: { count: 1 },
      host: hostId,
      disks: [{ capacityBytes: 2 ** 32, pool: "fast" }],
    },
  ],
  [
    "New-VM -Name z -ResourcePool c1 -Location Production/Web",
    "vmCreate",
    {
      name: "z",
      memory: { sizeMiB: 256 },
      cpu: { count: 1 },
      cluster: clusterId,
      folder: "Production/Web",
      disks: [{ capacityBytes: 2 ** 32 }],
    },
  ],
  ["New-VM -Name c -VM web -ResourcePool c1 -Location Production", "vmClone", { name: "c", folder: "Production" }],
  [
    "New-VM -Name y -MemoryGB 1.5 -NumCpu 4 -CoresPerSocket 2 -DiskMB 512 -DiskStorageFormat thick -Net lan,dmz -CD -Notes n",
    "vmCreate",
    {
      name: "y",
      memory: { sizeMiB: 1536 },
      cpu: { count: 4, topology: { sockets: 2, cores: 2, threads: 1 } },
      description: "n",
      disks: [{ capacityBytes: 2 ** 29, format: "raw", preallocate: true }, { device: "cdrom" }],
      nics: [{ network: "lan" }, { network: "dmz" }],
    },
  ],
  [
    "New-VM -Name c -VM web -LinkedClone -ReferenceSnapshot s1",
    "vmClone",
    { name: "c", linked: true, snapshot: snapshotId },
  ],
  ["Set-VM web -NumCpu 4 -MemoryMB 512 -Confirm:$false", "vmChange", { cpu: { count: 4 }, memory: { sizeMiB: 512 } }],
  ["Set-VM web -Name w2 -Confirm:$false", "vmRename", { name: "w2" }],
  ["Set-VM web -Snapshot S1 -Confirm:$false", "snapshotRevert"],
  ["Set-VM web -ToTemplate -Confirm:$false", "vmChange", { template: true }],
  ["Set-Template web -ToVM", "vmChange", { template: false }],
  ["Remove-VM web -DeleteFromDisk -Confirm:$false", "vmDelete", { deleteDisks: "true" }],
  ["Move-VM web kvm1", "vmMigrate", { host: hostId }],
  ["Move-VM web kvm1 -Datastore fast", "vmMigrate", { host: hostId, copyDisks: true }],
  ["Start-VM web", "vmStart"],
  ["Stop-VM web -Kill -Confirm:$false", "vmForceOff"],
  ["Restart-VM web -Confirm:$false", "vmReset"],
  ["Suspend-VM web -Confirm:$false", "vmSuspend"],
  ["Stop-VMGuest web -Confirm:$false", "vmShutdown", {}],
  ["Shutdown-VMGuest web -Confirm:$false", "vmShutdown", {}],
  ["Restart-VMGuest web -Confirm:$false", "vmReboot"],
  [
    "New-Snapshot web s2 -Memory -Quiesce -Desc d",
    "snapshotCreate",
    { name: "s2", description: "d", memory: true, quiesce: true },
  ],
  ["Remove-Snapshot web/s1 -RemoveChildren -Confirm:$false", "snapshotDelete", { children: "true" }],
  ["Set-VMHost kvm1 Maintenance", "hostChange", { maintenance: true }],
  [
    "New-HardDisk web -CapacityGB 1 -Datastore fast",
    "vmChange",
    { disksAdd: [{ capacityBytes: 2 ** 30, pool: "fast" }] },
  ],
  [
    "Set-HardDisk web/vda -CapacityKB 1024 -Confirm:$false",
    "vmChange",
    { disksChange: [{ target: "vda", capacityBytes: 2 ** 20 }] },
  ],
  [
    "Remove-HardDisk web/vda -DeletePermanently -Confirm:$false",
    "vmChange",
    { disksRemove: [{ target: "vda", deleteVolume: true }] },
  ],
  [
    "New-NetworkAdapter web -NetworkName lan -Type e1000E",
    "vmChange",
    { nicsAdd: [{ network: "lan", model: "e1000e" }] },
  ],
  [
    `Set-NetworkAdapter web/${mac} -Connected:false -Confirm:$false`,
    "vmChange",
    { nicsChange: [{ mac, linkUp: false }] },
  ],
  [`Remove-NetworkAdapter web/${mac} -Confirm:$false`, "vmChange", { nicsRemove: [{ mac }] }],
  [
    "Set-CDDrive web/sda -IsoPath /x.iso -Confirm:$false",
    "vmChange",
    { disksChange: [{ target: "sda", source: "/x.iso" }] },
  ],
  ["Set-CDDrive web/sda -NoMedia -Confirm:$false", "vmChange", { disksChange: [{ target: "sda", source: null }] }],
];

suite("requests", () => {
  const noted: { readonly operation: OperationId; readonly content: unknown }[] = [];
  const patterns = Object.entries(route).map(([operation, { method, path }]) => ({
    operation: operation as OperationId,
    method,
    pattern: new RegExp(`^/api/v1${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`),
  }));
  let samples = 0;
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "", "http://x");
    const found = patterns.find(({ method, pattern }) => method === request.method && pattern.test(url.pathname));
    void (async () => {
      const body = await text(request);
      const operation = found?.operation ?? "watch";
      const {
        limit: _limit,
        sort: _sort,
        fields: _fields,
        waitMs: _wait,
        ...query
      } = Object.fromEntries(url.searchParams);
      noted.push({ operation, content: body === "" ? query : JSON.parse(body) });
      const answer = answerOf(operation);
      response.writeHead(operation === "logout" ? 204 : 200, { "content-type": "application/json" });
      response.end(operation === "logout" ? "" : JSON.stringify(answer));
    })();
  });
  let url = "";
  let folder: AsyncDisposable & { readonly path: string };
  before(async () => {
    folder = await mkdtempDisposable(path.join(tmpdir(), "inn-request-"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    server.closeAllConnections();
    server.close();
    await folder[Symbol.asyncDispose]();
  });

  function answerOf(operation: OperationId): unknown {
    if (Object.hasOwn(lists, operation)) return { items: [lists[operation]], totalCount: 1, revision: 1 };
    // A second passes between two samples.
    if (operation === "vmStatistics")
      return { ...counters, sampledAt: new Date((samples += 1000)).toISOString(), state: "" };
    return single[operation] ?? task;
  }

  const reads = new Set(["vmGet", "hostList", "poolGet"]);
  const called = new Map<string, Set<OperationId>>();
  for (const [line, operation, content] of requests) {
    test(line, async () => {
      noted.length = 0;
      const words = line.replace("URL", url).split(" ");
      const environment = { INN_SERVER: url, INN_TOKEN: "t", XDG_CONFIG_HOME: folder.path };
      const result = await captured(words, { environment });
      assert.equal(result.exitCode, 0, result.errors);
      const wanted = noted.filter((each) => each.operation === operation);
      assert.ok(
        wanted.length > 0,
        `${operation} was not called, but ${noted.map((each) => each.operation).join(", ")}`,
      );
      if (content !== undefined)
        assert.ok(
          wanted.some((each) => isSame(each.content, content)),
          JSON.stringify(wanted),
        );
      // What only reads changes nothing.
      const changes = noted.filter((each) => !/(List|Get|Guest|Statistics|Refresh)$/.test(each.operation));
      if (!reads.has(operation))
        assert.ok(
          changes.every((each) => each.operation === operation),
          JSON.stringify(changes),
        );
      const [name = ""] = words;
      called.set(name, new Set([...(called.get(name) ?? []), ...noted.map((each) => each.operation)]));
    });
  }

  test("each cmdlet makes all the calls that it declares", async () => {
    for (const [name, load] of Object.entries(cmdlets)) {
      for (const operation of (await load()).operations) {
        // These need another state of the VM, or another host: the lab test has them.
        if (operation === "vmResume" || (name === "Set-VMHost" && operation === "vmMigrate")) continue;
        assert.ok(called.get(name)?.has(operation), `${name} did not call ${operation}`);
      }
    }
  });
});

function isSame(left: unknown, right: unknown): boolean {
  try {
    assert.deepEqual(left, right);
    return true;
  } catch {
    return false;
  }
}
