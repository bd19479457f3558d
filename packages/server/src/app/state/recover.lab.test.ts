/**
 * The store lost, and damaged: what is rebuilt from two real hosts is what was there, with the same ids, and it works:
 * snapshots are reverted to and deleted.
 */
import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { mkdtemp, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { after, afterEach, before, describe, test } from "node:test";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import { waitFor } from "@innkeeper/lab/wait.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { silentLogger } from "#core/log.ts";
import { stateLayout } from "#core/state-layout.ts";
import { type LabAccess, labAccess } from "../test-support/control-plane.ts";
import { ServerProcess } from "../test-support/server-process.ts";
import { type RecoverOptions, recoverState } from "./recover.ts";
import { restoreState } from "./restore.ts";

type Document = Readonly<Record<string, unknown>> & { readonly id: string };
type Inventory = Readonly<Record<string, readonly Document[]>>;

const password = "correct horse battery staple";
/** SQLite's default. */
const pageBytes = 4096;
/** What the hosts themselves change from minute to minute, and what only the process knew that was there before. */
const volatile: Readonly<Record<string, readonly string[]>> = {
  hosts: ["usage", "connectedAt", "connectionState", "hardware"],
  vms: ["startedAt", "addresses", "guestAgentConnected"],
  snapshots: [],
  images: [],
  pools: ["allocationBytes", "availableBytes"],
  networks: [],
  volumes: ["allocationBytes"],
};

describe("recover", { timeout: 900_000 }, () => {
  let lab: Lab;
  let access: LabAccess;
  let scratch: string;
  let folder: string;
  let passwordFile: string;
  let before_: Inventory;
  /** A backup of the time before the last snapshot, the clone and the VM that was found. */
  let older: Buffer;
  let server: ServerProcess;

  before(async () => {
    lab = await Lab.up({ name: `store-recover-${process.pid}`, hostCount: 2 });
    access = await labAccess(lab);
    scratch = await mkdtemp(path.join(tmpdir(), "inn-recover-"));
    folder = path.join(scratch, "state");
    passwordFile = path.join(scratch, "password");
    await writeFile(passwordFile, password);
    await start();
    before_ = await populate();
    await server.end("SIGTERM");
  });

  afterEach(() => server.end("SIGKILL"));

  after(async () => {
    await server?.end("SIGKILL");
    await lab?.down();
    await rm(scratch, { recursive: true, force: true });
  });

  /** Where there is no user yet, the first administrator gets the same password. */
  async function start(): Promise<void> {
    server = await ServerProcess.start(folder, { INN_ADMIN_PASSWORD_FILE: passwordFile });
    await server.login(password);
  }

  const list = async (what: string): Promise<Document[]> =>
    (await server.call<{ items: Document[] }>("GET", `/${what}?limit=1000`)).items;
  const one = async (what: string, name: string): Promise<Document> => {
    const found = (await list(what)).find((each) => each["name"] === name);
    assert.ok(found !== undefined, `no ${name} among ${what}`);
    return found;
  };

  async function addHosts(): Promise<void> {
    for (const { name, uri } of access.hosts) await server.succeed("POST", "/hosts", { name, uri, tls: access.tls });
    const pool = await one("pools", "shared");
    await server.call("PATCH", `/pools/${pool.id}`, { shared: true });
  }

  async function uploadImage(): Promise<void> {
    const { path: file } = await guestImage();
    const { size } = await stat(file);
    const host = await one("hosts", "h1");
    const query = new URLSearchParams({ name: "guest", pool: "shared", host: host.id, sizeBytes: String(size) });
    query.set("description", "中文 <&> for tests");
    const response = await fetch(`${server.url}/api/v1/images?${query}`, {
      method: "PUT",
      headers: {
        authorization: `Bearer ${server.token}`,
        "content-type": "application/octet-stream",
        "content-length": String(size),
      },
      body: Readable.toWeb(createReadStream(file)) as ReadableStream,
      duplex: "half",
    } as RequestInit);
    assert.equal(response.status, 201, await response.text());
  }

  const snapshot = async (vmId: string, name: string, memory: boolean): Promise<string> => {
    const body = { name, description: `of ${name}`, memory };
    const task = await server.succeed("POST", `/vms/${vmId}/snapshots`, body);
    return String(task.result?.["snapshotId"]);
  };

  /** VMs with tags, notes, a branched tree with memory, a linked clone, one that virsh made. What the API shows then. */
  async function populate(): Promise<Inventory> {
    await addHosts();
    await uploadImage();
    await server.succeed("POST", "/vms", {
      name: "web",
      host: "h1",
      description: "notes\nof two lines & <markup>",
      tags: ["env:test", "标签"],
      memory: { sizeMiB: 96 },
      disks: [{ image: "guest", linked: true, pool: "shared" }],
      nics: [{ network: "default" }],
      start: true,
    });
    const { id } = await one("vms", "web");
    const first = await snapshot(id, "first", true);
    await snapshot(id, "second", false);
    older = await backup();
    await server.succeed("POST", `/snapshots/${first}/revert`);
    await snapshot(id, "third", false);
    await server.succeed("POST", `/vms/${id}/clone`, { name: "clone", linked: true });
    await defineForeign();
    await addOwn();
    await recordIsWritten();
    return inventory();
  }

  /** What no host carries: notes about a host, and a user. */
  async function addOwn(): Promise<void> {
    const host = await one("hosts", "h1");
    await server.call("PATCH", `/hosts/${host.id}`, { description: "rack 1", tags: ["rack:1"] });
    await server.call("POST", "/users", { name: "anna", password, role: "operator" });
  }

  async function backup(): Promise<Buffer> {
    const response = await fetch(`${server.url}/api/v1/system/backup`, {
      method: "POST",
      headers: { authorization: `Bearer ${server.token}`, "content-type": "application/json" },
      body: JSON.stringify({ password }),
    });
    assert.equal(response.status, 200);
    return Buffer.from(await response.arrayBuffer());
  }

  async function defineForeign(): Promise<void> {
    const xml = `<domain type='qemu'><name>foreign</name><memory>65536</memory><description>by virsh</description>
      <os><type arch='x86_64'>hvm</type></os></domain>`;
    await lab.host("h2").exec(["sh", "-c", `cat > /run/foreign.xml <<'X'\n${xml}\nX\nvirsh define /run/foreign.xml`]);
    await eventually("the foreign VM", async () => (await list("vms")).some((vm) => vm["name"] === "foreign"));
  }

  /** In the background, after the image was made. */
  async function recordIsWritten(): Promise<void> {
    await eventually("the image's record", async () => {
      const found = await lab
        .host("h1")
        .exec(["find", lab.sharedFolder, "-name", "innkeeper-image-*.json", "-size", "+0"]);
      return found.stdout.trim() !== "";
    });
  }

  async function inventory(): Promise<Inventory> {
    const host = await list("hosts");
    for (const { id } of host) await server.succeed("POST", `/hosts/${id}/refresh`);
    const entries: [string, Document[]][] = [];
    for (const [what, fields] of Object.entries(volatile)) {
      const documents = (await list(what)).map((document) =>
        // A VM that was found has been known since it was found: nothing of it is written to its host.
        without(document, ["revision", ...fields, ...(document["managed"] === false ? ["createdAt"] : [])]),
      );
      entries.push([what, documents.toSorted((a, b) => a.id.localeCompare(b.id))]);
    }
    return Object.fromEntries(entries) as Inventory;
  }

  const options = (more: Partial<RecoverOptions> = {}): RecoverOptions => ({
    stateFolder: folder,
    hosts: [],
    force: false,
    allowPlainTcp: false,
    log: silentLogger,
    onProgress: () => {},
    signal: AbortSignal.timeout(300_000),
    ...more,
  });

  test("the store gone, and no backup: all that the hosts have is rebuilt from them, with the same ids", async () => {
    await rm(stateLayout(folder).store);
    const hosts = access.hosts.map(({ name, uri }) => ({ name, uri, tls: access.tls }));
    const report = await recoverState(options({ hosts }));
    assert.match(report.problem, /store\.sqlite is gone, but .*secret\.key shows/);
    assert.deepEqual(
      report.hosts.map(({ name, fault }) => [name, fault]),
      [
        ["h1", undefined],
        ["h2", undefined],
      ],
    );
    assert.deepEqual(report.sources, []);
    assert.deepEqual(report.notes, []);
    assert.deepEqual(report.sharedPools, ["shared"]);
    await start();
    const now = await inventory();
    // A host carries no notes about itself.
    const own = ["description", "tags", "addedAt"];
    const plain = (of: Inventory) => of["hosts"]?.map((host) => without(host, own));
    assert.deepEqual(plain(now), plain(before_));
    for (const what of Object.keys(volatile).filter((each) => each !== "hosts")) {
      assert.deepEqual(now[what], before_[what], what);
    }
    await server.end("SIGTERM");
  });

  test("the store damaged: what can be read of it is kept, and the rest is as it was", async () => {
    await start();
    await addOwn();
    const then = await inventory();
    await server.end("SIGTERM");
    const file = stateLayout(folder).store;
    const content = await readFile(file);
    // The header, and the VM wherever it is but for the pages that have what only the store knows.
    const pages = [0];
    for (let page = 1; page * pageBytes < content.length; page++) {
      const held = content.subarray(page * pageBytes, (page + 1) * pageBytes).toString("latin1");
      if (held.includes('"name":"web"') && !/"anna"|"rack 1"/.test(held)) pages.push(page);
    }
    assert.ok(pages.length > 1);
    {
      await using handle = await open(file, "r+");
      for (const page of pages) await handle.write(Buffer.alloc(pageBytes, 0xa5), 0, pageBytes, page * pageBytes);
    }
    const damaged = await readFile(file);
    const report = await recoverState(options());
    assert.match(report.problem, /is corrupted/);
    assert.match(report.sources.join(), /as far as it could be read/);
    assert.ok(report.aside !== undefined);
    assert.deepEqual(await readFile(stateLayout(report.aside).store), damaged, "kept as it was");
    assert.deepEqual(
      report.hosts.map(({ fault }) => fault),
      [undefined, undefined],
    );
    await start();
    const now = await inventory();
    for (const what of Object.keys(volatile)) assert.deepEqual(now[what], then[what], what);
    assert.equal((await one("users", "anna"))["role"], "operator");
    await server.call("POST", "/login", { name: "anna", password });
    await server.end("SIGTERM");
  });

  test("a backup from before: what the hosts have had since is known again", async () => {
    const content = Readable.from([older]);
    const report = await restoreState({
      stateFolder: folder,
      content,
      password: async () => password,
      checkOnly: false,
    });
    assert.equal(report.count.snapshot, 2);
    await start();
    const now = await inventory();
    for (const what of ["vms", "snapshots", "images", "pools", "networks"]) {
      assert.deepEqual(now[what], before_[what], what);
    }
    await server.end("SIGTERM");
  });

  test("the recovered tree works: reverted to, merged, deleted; nothing is left over", async () => {
    await start();
    const now = await inventory();
    for (const what of ["vms", "snapshots", "images", "pools"]) assert.deepEqual(now[what], before_[what], what);
    const byName = (name: string) => one("snapshots", name);
    await server.succeed("POST", `/snapshots/${(await byName("second")).id}/revert`);
    await server.succeed("POST", `/snapshots/${(await byName("first")).id}/revert`);
    assert.equal((await one("vms", "web"))["state"], "running", "with its memory");
    const clone = await one("vms", "clone");
    await server.succeed("DELETE", `/vms/${clone.id}?deleteDisks=true&force=true`);
    for (const { id } of await list("snapshots")) {
      const task = await server.call<Task>("DELETE", `/snapshots/${id}?waitMs=60000`);
      assert.equal(task.state, "succeeded", JSON.stringify(task.error));
    }
    assert.deepEqual(await list("snapshots"), []);
    const { id } = await one("vms", "web");
    await server.succeed("DELETE", `/vms/${id}?deleteDisks=true&force=true`);
    // The other host's view of the shared pool follows in the background.
    await eventually("the end of the volumes", async () =>
      (await list("volumes")).every((volume) => !String(volume["name"]).startsWith("web-")),
    );
    const image = await one("images", "guest");
    await server.succeed("DELETE", `/images/${image.id}`);
    await eventually(
      "an empty folder",
      async () => (await lab.host("h1").exec(["find", lab.sharedFolder, "-type", "f"])).stdout.trim() === "",
    );
  });
});

async function eventually(what: string, look: () => Promise<boolean>): Promise<void> {
  await waitFor(what, async () => (await look()) || undefined, { timeoutMs: 30_000 });
}

function without(document: Document, fields: readonly string[]): Document {
  return Object.fromEntries(Object.entries(document).filter(([name]) => !fields.includes(name))) as Document;
}
