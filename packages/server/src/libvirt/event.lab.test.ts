/**
 * The same actions on one daemon, watched by this client, by python3-libvirt and by `virsh … event --all`: the same
 * events, in the same order, with the same numbers.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { type Connection, connect, type DomainEvents } from "@innkeeper/libvirt";
import { domainEvents, networkEvents, secretEvents, storagePoolEvents } from "@innkeeper/libvirt/generated/event.ts";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import { waitFor } from "@innkeeper/lab/wait.ts";
import { plain } from "./test-support/compared-call.ts";
import { guestXml } from "./test-support/compared-guest-change.ts";
import { daemonSocket } from "./test-support/daemon-socket.ts";
import { OtherWatch, virshEvents } from "./test-support/other-watch.ts";
import { inVirshWords, type ToldEvent } from "./test-support/virsh-event.ts";
import { Virsh } from "./test-support/virsh.ts";

const labName = "event";
const name = "eventful";
const waitMs = 60_000;
const objectFields = ["dom", "net", "pool", "secret"];
const tables = {
  domain: domainEvents,
  network: networkEvents,
  storagePool: storagePoolEvents,
  secret: secretEvents,
} as const;
type ObjectClass = keyof typeof tables;

/** What virsh watches, each in a process of its own, and what makes an event of it that shows that virsh is listening. */
interface VirshWatch {
  readonly of: ObjectClass;
  /** Only this kind; of domains all. */
  readonly kind?: string;
  readonly command: string;
  readonly probe: string;
  /** How the probe's event begins. */
  readonly heard: string;
}
const earlyUuid = "00000000-0000-4000-8000-00000000ea51";
const virshWatches: readonly VirshWatch[] = [
  { of: "domain", command: "event --all", probe: "desc early --config told", heard: "event 'metadata-change'" },
  {
    of: "network",
    kind: "lifecycle",
    command: "net-event --event lifecycle",
    probe: "net-define FOLDER/early-net.xml",
    heard: "event",
  },
  {
    of: "storagePool",
    kind: "lifecycle",
    command: "pool-event --event lifecycle",
    probe: "pool-define FOLDER/early-pool.xml",
    heard: "event",
  },
  {
    of: "storagePool",
    kind: "refresh",
    command: "pool-event --event refresh",
    probe: "pool-refresh local",
    heard: "event",
  },
  {
    of: "secret",
    kind: "lifecycle",
    command: "secret-event --event lifecycle",
    probe: "secret-define FOLDER/early-secret.xml",
    heard: "event",
  },
  {
    of: "secret",
    kind: "valueChanged",
    command: "secret-event --event value-changed",
    probe: `secret-set-value ${earlyUuid} --file FOLDER/value`,
    heard: "event",
  },
];
const earlyFiles: Readonly<Record<string, string>> = {
  "early.xml": guestXml("early", "/dev/null"),
  "early-net.xml": `<network><name>early</name><uuid>${earlyUuid}</uuid><forward mode='bridge'/><bridge name='virbr0'/></network>`,
  "early-pool.xml": `<pool type='dir'><name>early</name><uuid>${earlyUuid}</uuid><target><path>/run/early</path></target></pool>`,
  "early-secret.xml": `<secret><uuid>${earlyUuid}</uuid><usage type='ceph'><name>early</name></usage></secret>`,
  value: "aW5u",
};

/**
 * Seen by nobody here: a guest whose watchdog, disk, memory or clock fails, a viewer of its screen, an older daemon's
 * control error, S4 and a device that the guest holds on to.
 */
const unseen: readonly (keyof DomainEvents)[] = [
  "rtcChange",
  "watchdog",
  "ioError",
  "graphics",
  "ioErrorReason",
  "controlError",
  "pmsuspendDisk",
  "deviceRemovalFailed",
  "memoryFailure",
  "memoryDeviceSizeChange",
];

const diskXml = (file: string): string =>
  `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${file}'/><target dev='vdb' bus='virtio'/></disk>`;
const spareSlots = `<controller type='pci' index='0' model='pcie-root'/>${"<controller type='pci' model='pcie-root-port'/>".repeat(8)}`;
/** What is missing in its tray is dropped at the start. */
const cdromXml =
  "<disk type='file' device='cdrom'><source file='/nonexistent.iso' startupPolicy='optional'/><target dev='sda' bus='sata'/></disk>";

const isEnd = ({ kind, values }: ToldEvent): boolean => kind === "lifecycle" && values[0] === "1";
const isUndefined = ({ kind, values, name: object }: ToldEvent): boolean =>
  kind === "lifecycle" && values[0] === "1" && object !== "early" && object !== earlyUuid;

/** Of an event of ours: its object, and the rest in libvirt's order. */
function told(of: ObjectClass, kind: string, event: object): ToldEvent {
  const entries = Object.entries(event);
  const [, object] = entries.find(([field]) => objectFields.includes(field)) ?? [];
  const values = entries.filter(([field]) => !objectFields.includes(field)).map(([, value]) => plain(value));
  return { of, kind, name: String((object as { name?: string }).name ?? (object as { uuid: string }).uuid), values };
}

function pythonEvent(line: string): ToldEvent {
  const [of, id, object, ...values] = JSON.parse(line) as [ObjectClass, number, string, ...unknown[]];
  const [kind = ""] = Object.entries(tables[of]).find(([, [number]]) => number === id) ?? [];
  return { of, kind, name: object, values };
}

describe("events of one daemon, seen by three clients", { timeout: 300_000 }, () => {
  let lab: Lab;
  let virsh: Virsh;
  let connection: Connection;
  let python: OtherWatch;
  let others: ReadonlyMap<VirshWatch, OtherWatch>;
  const seen: ToldEvent[] = [];

  before(async () => {
    await Lab.down(labName);
    lab = await Lab.up({ name: labName, hostCount: 1 });
    const uri = `qemu+unix:///system?socket=${await daemonSocket(lab.folder, lab.host("h1"))}`;
    virsh = new Virsh(uri, lab.sharedFolder);
    connection = await connect(uri);
    await watch();
    python = await OtherWatch.python(uri);
    others = new Map(virshWatches.map((each) => [each, OtherWatch.virsh(uri, each.command)]));
    await untilRegistered();
    seen.length = 0;
    for (const each of [python, ...others.values()]) each.lines.length = 0;
  });
  after(async () => {
    for (const each of [python, ...(others?.values() ?? [])]) await each?.[Symbol.asyncDispose]();
    await connection?.close();
    await lab?.down();
  });

  const file = (each: string): string => path.join(lab.sharedFolder, each);

  async function watch(): Promise<void> {
    const { events } = connection;
    const kinds = Object.keys(domainEvents) as (keyof DomainEvents)[];
    const sources: readonly (readonly [ObjectClass, string, AsyncIterable<object> & { ready: Promise<void> }])[] = [
      ["domain", "", events.domains(kinds)],
      ["network", "lifecycle", events.network("lifecycle")],
      ["storagePool", "lifecycle", events.storagePool("lifecycle")],
      ["storagePool", "refresh", events.storagePool("refresh")],
      ["secret", "lifecycle", events.secret("lifecycle")],
      ["secret", "valueChanged", events.secret("valueChanged")],
    ];
    for (const [of, kind, subscription] of sources) {
      await subscription.ready;
      void (async () => {
        for await (const event of subscription) {
          const named = event as { name?: string; event?: object };
          seen.push(of === "domain" ? told(of, named.name ?? "", named.event ?? {}) : told(of, kind, event));
        }
      })();
    }
  }

  /** All told of the end of the four objects that the probes are about. */
  function areProbesOver(): true | undefined {
    const heard = [...others.values()].filter(({ lines }) => lines.some((line) => line.includes("Undefined")));
    const counts = [seen.filter(isEnd).length, python.lines.map(pythonEvent).filter(isEnd).length, heard.length];
    return counts.every((count) => count === 4) ? true : undefined;
  }

  /** virsh says nothing when it is registered: what it would tell of is done until it does. */
  async function untilRegistered(): Promise<void> {
    for (const [each, content] of Object.entries(earlyFiles)) await writeFile(file(each), content);
    await virsh.run("define FOLDER/early.xml");
    for (const [{ command, probe, heard }, other] of others) {
      const isHeard = async (): Promise<true | undefined> => {
        await virsh.run(probe);
        return other.lines.some((line) => line.includes(heard)) ? true : undefined;
      };
      await waitFor(`virsh ${command}`, isHeard, { timeoutMs: waitMs, intervalMs: 200 });
    }
    // What was only a probe is over at all of them when they tell of this.
    await virsh.run("undefine early");
    await virsh.run("net-undefine early");
    await virsh.run("pool-undefine early");
    await virsh.run(`secret-undefine ${earlyUuid}`);
    await waitFor("the end of the probes", () => Promise.resolve(areProbesOver()), {
      timeoutMs: waitMs,
      intervalMs: 50,
    });
  }

  /** Our first event of the kind, so that what is to happen did before the next action. */
  const until = (kind: string, detail = (_event: ToldEvent): boolean => true): Promise<unknown> =>
    waitFor(`the event ${kind}`, () => Promise.resolve(seen.find((event) => event.kind === kind && detail(event))), {
      timeoutMs: waitMs,
      intervalMs: 50,
    });
  const agent = (execute: string, args: object): Promise<string> =>
    virsh.run(`qemu-agent-command ${name} ${JSON.stringify({ execute, arguments: args }).replaceAll(" ", "\u00a0")}`);

  const texts = (watched: VirshWatch): string[] => virshEvents(others.get(watched)?.lines ?? []);

  /** Up to the event that says that the object is gone. */
  async function compare(of: ObjectClass): Promise<void> {
    const own = (): ToldEvent[] => seen.filter((event) => event.of === of);
    const pythons = (): ToldEvent[] => python.lines.map(pythonEvent).filter((event) => event.of === of);
    const watches = virshWatches.filter((each) => each.of === of);
    const ofWatch = ({ kind }: VirshWatch): ToldEvent[] =>
      own().filter((event) => kind === undefined || event.kind === kind);
    const isThere = (): true | undefined => {
      if (!own().some(isUndefined) || !pythons().some(isUndefined)) return undefined;
      return watches.every((each) => texts(each).length >= ofWatch(each).length) ? true : undefined;
    };
    await waitFor(`the last event of ${of}`, () => Promise.resolve(isThere()), { timeoutMs: waitMs, intervalMs: 50 });
    assert.deepEqual(own(), pythons());
    for (const each of watches) assert.deepEqual(ofWatch(each).map(inVirshWords), texts(each));
  }

  test("networks, pools and secrets", async () => {
    await writeFile(
      file("net.xml"),
      "<network><name>n1</name><forward mode='bridge'/><bridge name='virbr0'/></network>",
    );
    const secret =
      "<secret><uuid>00000000-0000-4000-8000-00000000ec4e</uuid><usage type='ceph'><name>s1</name></usage></secret>";
    await writeFile(file("s1.xml"), secret);
    const uuid = "00000000-0000-4000-8000-00000000ec4e";
    const commands = [
      "net-define FOLDER/net.xml",
      "net-start n1",
      "net-destroy n1",
      "net-undefine n1",
      "pool-define-as p1 dir --target /var/lib/libvirt/p1",
      "pool-build p1",
      "pool-start p1",
      "pool-refresh p1",
      "pool-destroy p1",
      "pool-delete p1",
      "pool-undefine p1",
      "secret-define FOLDER/s1.xml",
      `secret-set-value ${uuid} --file FOLDER/value`,
      `secret-undefine ${uuid}`,
    ];
    for (const command of commands) await virsh.run(command);
    for (const each of ["network", "storagePool", "secret"] as const) await compare(each);
  });

  test("a guest", async () => {
    const image = await guestImage();
    await promisify(execFile)("qemu-img", [
      "create",
      "-q",
      "-f",
      "qcow2",
      "-b",
      image.path,
      "-F",
      "qcow2",
      file("disk.qcow2"),
    ]);
    await promisify(execFile)("qemu-img", ["create", "-q", "-f", "raw", file("more.raw"), "1M"]);
    const xml = guestXml(name, file("disk.qcow2")).replace("</devices>", `${spareSlots}${cdromXml}</devices>`);
    await writeFile(file("guest.xml"), xml);
    await writeFile(file("more.xml"), diskXml(file("more.raw")));
    for (const command of [
      "define FOLDER/guest.xml",
      `desc ${name} --config Grüße`,
      `metadata ${name} urn:inn --config --key inn --set <a/>`,
      `start ${name}`,
    ])
      await virsh.run(command);
    await until("agentLifecycle", ({ values }) => values[0] === "1");
    await virsh.run(`suspend ${name}`);
    await virsh.run(`resume ${name}`);
    await virsh.run(`setmem ${name} 160M --live`);
    await until("balloonChange");
    await virsh.run(`attach-device ${name} FOLDER/more.xml --live`);
    await until("deviceAdded");
    await virsh.run(`detach-device ${name} FOLDER/more.xml --live`);
    await until("deviceRemoved");
    await virsh.run(`blkdeviotune ${name} vda --total-iops-sec 5000 --live`);
    await until("tunable");
    await virsh.run(`change-media ${name} sda FOLDER/more.raw --insert --live`);
    await virsh.run(`change-media ${name} sda --eject --live`);
    await until("trayChange");
    await virsh.run(`domblkthreshold ${name} vda 4096`);
    await agent("guest-exec", { path: "/bin/sh", arg: ["-c", "echo\u00a0told\u00a0>/data/told;sync"] });
    await until("blockThreshold");
    await virsh.run(`blockcopy ${name} vda --dest ${file("copy.qcow2")} --shallow --transient-job --wait --finish`);
    await until("blockJob2", ({ values }) => values[2] === "2" || values[2] === "0");
    await virsh.run(`dompmsuspend ${name} mem`);
    await until("pmsuspend");
    await virsh.run(`dompmwakeup ${name}`);
    await until("pmwakeup");
    await virsh.run(`reset ${name}`);
    await until("reboot");
    await virsh.run(`managedsave ${name}`);
    await virsh.run(`start ${name}`);
    await virsh.run(`destroy ${name}`);
    await virsh.run(`undefine ${name}`);
    await compare("domain");
    const missed = new Set(Object.keys(domainEvents)).difference(new Set(seen.map(({ kind }) => kind)));
    assert.deepEqual([...missed], unseen);
  });
});
