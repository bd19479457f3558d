/** First part of the demo: hosts, control plane and guest image, then the hosts added and inventoried, the shared pool proved, the image uploaded. */
import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Image } from "@innkeeper/contract/resource/image.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import { ApiClient } from "#client.ts";
import { changeConfig, configFile, withServer } from "#config.ts";
import { listAll } from "#list.ts";
import { given } from "#option/given.ts";
import { kvmText, ranges, sizeText } from "#page/host.ts";
import { type DemoLayout, demoName } from "#program/demo/layout.ts";
import { type Note, type Report, together } from "#program/demo/report.ts";
import { connectionTo, startServer } from "#program/demo/server.ts";
import { requireSuccess, waitForTask } from "#task.ts";

export interface Datacenter {
  readonly api: ApiClient;
  readonly lab: Lab;
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly hosts: readonly Host[];
  readonly image: Image;
}

export const sharedPool = "shared";
const userName = "admin";
const hostCount = 2;
const addTimeoutMs = 60_000;

export async function buildDatacenter(layout: DemoLayout, report: Report, signal: AbortSignal): Promise<Datacenter> {
  const password = randomBytes(9).toString("base64url");
  const [ready, imageFile] = await together(signal, [
    async (stepSignal) => await connectHosts(layout, password, report, { stepSignal, signal }),
    async (stepSignal) =>
      await report.step("build a guest image from Debian's kernel, busybox, qemu-guest-agent", async (note) => {
        return await image(layout, note, stepSignal);
      }),
  ] as const);
  const uploaded = await report.step("upload the guest image", async (note) => {
    return await upload(ready.api, imageFile, note);
  });
  return { ...ready, user: userName, password, image: uploaded };
}

interface Signals {
  /** Aborts when a step that runs at the same time fails. */
  readonly stepSignal: AbortSignal;
  readonly signal: AbortSignal;
}

async function connectHosts(
  layout: DemoLayout,
  password: string,
  report: Report,
  { stepSignal, signal }: Signals,
): Promise<Pick<Datacenter, "api" | "url" | "lab" | "hosts">> {
  const [lab, { api, url }] = await together(stepSignal, [
    async (stepSignal) =>
      await report.step("start two libvirt hosts, each with its own daemon and address", async (note) => {
        return await hosts(layout, note, stepSignal);
      }),
    async (stepSignal) =>
      await report.step("start the control plane", async (note) => {
        return await controlPlane(layout, password, note, { stepSignal, signal });
      }),
  ] as const);
  const added = await report.step("add both hosts: mutual TLS, check, inventory", async (note) => {
    return await addHosts(api, lab, note, stepSignal);
  });
  await report.step(`declare pool "${sharedPool}" shared, which is proved on the hosts`, async (note) => {
    await sharePool(api, note);
  });
  return { api, url, lab, hosts: added };
}

async function hosts(layout: DemoLayout, note: Note, signal: AbortSignal): Promise<Lab> {
  const lab = await Lab.up({ name: layout.labName, hostCount, signal });
  for (const host of lab.hosts) note(`${host.name}  ${host.uri}`);
  return lab;
}

async function image(layout: DemoLayout, note: Note, signal: AbortSignal): Promise<string> {
  await mkdir(layout.imageFolder, { recursive: true });
  const built = await guestImage({ signal, cacheFolder: layout.imageFolder, onProgress: note });
  note(`${formatBytes((await stat(built.path)).size)} on disk, ${formatBytes(built.virtualSizeBytes)} for the guest`);
  return built.path;
}

async function controlPlane(
  layout: DemoLayout,
  password: string,
  note: Note,
  { stepSignal, signal }: Signals,
): Promise<{ api: ApiClient; url: string }> {
  const passwordFile = path.join(layout.folder, "admin-password");
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  const { url } = await startServer(layout, passwordFile, stepSignal);
  await rm(passwordFile);
  const connection = connectionTo(layout, url);
  const { caCertificate } = connection;
  using anonymous = new ApiClient(connection, signal);
  const { secret, expiresAt } = await anonymous.call("login", { body: { name: userName, password } });
  const saved = { url, user: userName, token: secret, expiresAt, ...given({ caCertificate }) };
  changeConfig(configFile(process.env), (config) => withServer(config, demoName, saved, false));
  note(`${url}, logged in as ${userName}`);
  return { api: new ApiClient({ ...connection, token: secret }, signal), url };
}

async function addHosts(api: ApiClient, lab: Lab, note: Note, signal: AbortSignal): Promise<Host[]> {
  const tls = {
    caCertificate: await readFile(lab.clientTls.ca, "utf8"),
    clientCertificate: await readFile(lab.clientTls.cert, "utf8"),
    clientKey: await readFile(lab.clientTls.key, "utf8"),
  };
  const tasks = await Promise.all(
    lab.hosts.map(async ({ uri, name }) => await api.call("hostAdd", { body: { uri, name, tls } })),
  );
  for (const task of tasks) requireSuccess(await waitForTask(api, task, { signal, timeoutMs: addTimeoutMs }));
  const [{ items }, pools, networks] = await Promise.all([
    listAll(api, "hostList", { sort: "name" }),
    listAll(api, "poolList", { sort: "name" }),
    listAll(api, "networkList", { sort: "name" }),
  ]);
  for (const host of items) note(inventoryText(host, names(pools.items, host.id), names(networks.items, host.id)));
  return [...items];
}

function names(items: readonly { hostId: string; name: string }[], hostId: string): string {
  return items
    .filter((item) => item.hostId === hostId)
    .map(({ name }) => name)
    .join(", ");
}

function inventoryText(host: Host, pools: string, networks: string): string {
  const { hardware } = host;
  if (hardware === undefined) throw new Error(`${host.name} has no inventory: ${host.connectionDetail}`);
  const nodes = hardware.numaNodes.map(
    (node) => `node ${node.id} with CPUs ${ranges(node.cpus)} and ${sizeText(node.memoryMiB)}`,
  );
  return `${host.name}: ${host.connectionState}, ${hardware.cpuCount} CPUs, ${sizeText(hardware.memoryMiB)}, NUMA ${nodes.join("; ")}
    ${hardware.hypervisor} ${hardware.hypervisorVersion}, libvirt ${hardware.libvirtVersion}; KVM: ${kvmText(hardware.kvm)}
    pools ${pools}; networks ${networks}`;
}

async function sharePool(api: ApiClient, note: Note): Promise<void> {
  const { items } = await listAll(api, "poolList", { filter: `name=${sharedPool}` });
  const [first] = items;
  if (first === undefined) throw new Error(`no host has a pool named ${sharedPool}`);
  await api.call("poolChange", { parameters: { poolId: first.id }, body: { shared: true } });
  const { items: after } = await listAll(api, "poolList", { filter: `name=${sharedPool} and shared=true` });
  note(`the same ${first.type} storage on ${after.length} hosts, at ${first.path ?? "?"}`);
}

async function upload(api: ApiClient, file: string, note: Note): Promise<Image> {
  const { items } = await listAll(api, "poolList", { filter: `name=${sharedPool}` });
  const [pool] = items;
  if (pool === undefined) throw new Error(`no host has a pool named ${sharedPool}`);
  const sizeBytes = (await stat(file)).size;
  const query = { name: "guest", pool: pool.id, sizeBytes, description: "Linux with busybox and the guest agent" };
  const uploaded = await api.upload("imageUpload", { query }, { stream: createReadStream(file), sizeBytes });
  note(
    `${formatBytes(sizeBytes)} as image "${uploaded.name}" (${uploaded.format}), sha256 ${uploaded.sha256?.slice(0, 16) ?? "?"}…`,
  );
  return uploaded;
}
