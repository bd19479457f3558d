/**
 * Bad input through the command line, plain verbs and PowerCLI's, against a real host: each is an error that names what is
 * wrong, with the exit code of the table, and neither the inventory nor the host is any different afterwards.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempDisposable, open, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { labState } from "@innkeeper/server/app/test-support/lab-state.ts";
import { safeText } from "#output/text-width.ts";
import { LabServer } from "#test-support/lab-server.ts";

const run = promisify(execFile);

interface BadInput {
  readonly title: string;
  readonly lines: readonly (readonly string[])[];
  readonly exitCode: number;
  readonly says: RegExp;
}

/** What `inn virt-install` wants beside name, memory and vCPUs. */
const diskless = ["--pxe", "--disk", "none", "--osinfo", "generic"];

suite("bad input through the command line", { timeout: 900_000 }, () => {
  let plane: LabServer;
  let folder: AsyncDisposable & { readonly path: string };
  before(async () => {
    plane = await LabServer.up({ name: `bad-input-${process.pid}`, hostCount: 1 });
    folder = await mkdtempDisposable(path.join(tmpdir(), "inn-bad-"));
    await plane.output("New-VM", "-Name", "good", "-VMHost", "h1", "-Datastore", "shared", "-NetworkName", "default");
  });
  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await folder?.[Symbol.asyncDispose]();
  });

  /** All that there is, for Innkeeper and for the host itself. */
  async function everything(): Promise<unknown> {
    const lists = ["vm", "snapshot", "pool", "volume", "image", "network"].map(async (noun) => {
      const items = JSON.parse(await plane.output(noun, "list", "-o", "json")) as Record<string, unknown>[];
      // How full a pool is changes with what others do in its file system.
      return items.map(
        ({ revision: _revision, allocationBytes: _allocation, availableBytes: _available, ...rest }) => rest,
      );
    });
    const { stdout } = (await plane.lab.hosts[0]?.exec(["virsh", "-q", "net-list", "--all", "--name"])) ?? {};
    return { lists: await Promise.all(lists), host: await labState(plane.lab), networks: stdout };
  }

  async function refused({ title, lines, exitCode, says }: BadInput): Promise<void> {
    const before = await everything();
    for (const words of lines) {
      const { errors, output, exitCode: ended } = await plane.inn(words);
      const shown = `${title}: inn ${words.join(" ").slice(0, 300)}\n${errors}${output}`;
      assert.equal(ended, exitCode, shown);
      assert.match(errors, says, shown);
      assert.match(errors, /^ {2}(field|what to do): /m, shown);
      assert.equal(safeText(errors), errors.replaceAll("\n", " "), `steers the terminal: ${shown}`);
    }
    assert.deepEqual(await everything(), before, title);
  }

  test("names that can't be names", async () => {
    for (const [title, name] of [
      ["201 characters", "n".repeat(201)],
      ["more bytes than a file name has", "中".repeat(70)],
      ["a path", "../../etc/passwd"],
      ["a slash", "a/b"],
      ["markup", "<b>&amp;</b>"],
      ["an entity", "&xxe;"],
      ["NUL", "web\u0000.conf"],
      ["a line end", "web\nname"],
      ["an escape sequence", "web\u001b[31m"],
      ["a control character of C1", "web\u009b31m"],
      ["a bidirectional override", "web\u202egpj.exe"],
      ["a line separator", "web\u2028x"],
      ["a leading dash", "-rf"],
      ["white space before", " web"],
      ["nothing but white space", "   "],
      ["quotes", `we"b'`],
      ["half of a character", "web\ud800"],
    ] as const) {
      await refused({
        title,
        exitCode: 65,
        says: /^error: .*\n {2}field: +(--name|(request\.)?(name|newName))/m,
        lines: [
          ["vm", "create", "--memory", "64M", "--name", name],
          ["vm", "clone", "--", "good", name],
          ["vm", "rename", "--", "good", name],
          ["snapshot", "create", "good", "--name", name],
          ["network", "create", "--host", "h1", "--isolated", "--", name],
          ["New-VM", `-Name:${name}`, "-VMHost", "h1"],
          ["virt-install", `--name=${name}`, "--memory", "64", ...diskless],
          ["New-VM", "-VM", "good", `-Name:${name}`],
          ["New-Snapshot", "-VM", "good", `-Name:${name}`],
          ["Set-VM", "good", `-Name:${name}`, "-Confirm:$false"],
        ],
      });
    }
  });

  test("names that people have", async () => {
    const before = await everything();
    for (const name of ["web server 1", "n".repeat(200), "网络服务器", "🏨 inn 👨‍👩‍👧", "Ünïcödé.example-1_x", "a,b [c]"]) {
      await plane.output("New-VM", `-Name:${name}`, "-VMHost", "h1", "-DiskGB", "0.01", "-Datastore", "shared");
      await plane.output("New-Snapshot", "-VM", name.replaceAll(/[,[\]]/g, "`$&"), `-Name:${name}`);
      const [vm] = JSON.parse(await plane.output("Get-VM", name.replaceAll(/[,[\]]/g, "`$&"), "-o", "json")) as {
        Name: string;
      }[];
      assert.equal(vm?.Name, name);
      await plane.output("vm", "show", name);
      await plane.output("vm", "delete", name, "--disks", "--yes");
    }
    assert.deepEqual(await everything(), before);
  });

  test("memory", async () => {
    for (const [memory, gb, mib, exitCode, says] of [
      ["0", "0", "0", 65, /field: +.*-?-memory/i],
      ["-1", "-1", "-1", 65, /field: +.*-?-memory/i],
      ["1.5", "0.0001", "1.5", 65, /field: +.*-?-memory/i],
      ["lots", "lots", "lots", 65, /field: +.*-?-memory/i],
      ["10T", "10240", "10485760", 65, /field: +memory/i],
      ["1000000T", "1000000000", "1000000000000", 65, /field: +.*memory/i],
      ["99999999999999999999", "99999999999999999999", "99999999999999999999", 65, /field: +.*-?-memory/i],
    ] as const) {
      await refused({
        title: `memory of ${memory}`,
        exitCode,
        says,
        lines: [
          ["vm", "create", "x", `--memory=${memory}`],
          ["vm", "set", "good", `--memory=${memory}`],
          ["New-VM", "-Name", "x", "-VMHost", "h1", "-MemoryGB", gb],
          ["virt-install", "--name", "x", `--memory=${mib}`, ...diskless],
          ["Set-VM", "good", "-MemoryGB", gb, "-Confirm:$false"],
        ],
      });
    }
  });

  test("memory that no host has, through the API", async () => {
    for (const gib of [1024, 10 * 1024]) {
      const { status, body } = await plane.server.admin("POST", "/vms", {
        name: "x",
        host: "h1",
        memory: { sizeMiB: gib * 1024 },
      });
      assert.deepEqual([status, body["field"]], [422, "memory.sizeMiB"], JSON.stringify(body));
    }
  });

  test("vCPUs", async () => {
    for (const count of ["0", "-1", "10000", "1.5", "two", "100"]) {
      await refused({
        title: `${count} vCPUs`,
        exitCode: 65,
        says: /field: +.*(cpu\.count|--vcpus|-NumCpu)/,
        lines: [
          ["vm", "create", "x", "--memory", "64M", `--vcpus=${count}`],
          ["vm", "set", "good", `--vcpus=${count}`],
          ["New-VM", "-Name", "x", "-VMHost", "h1", "-NumCpu", count],
          ["virt-install", "--name", "x", "--memory", "64", `--vcpus=${count}`, ...diskless],
          ["Set-VM", "good", "-NumCpu", count, "-Confirm:$false"],
        ],
      });
    }
  });

  test("disks that no storage has", async () => {
    await refused({
      title: "sizes",
      exitCode: 65,
      says: /field: +.*(--disk|-DiskGB|-CapacityGB|capacityBytes)/,
      lines: [
        ["vm", "create", "x", "--memory", "64M", "--disk", "size=0"],
        ["vm", "create", "x", "--memory", "64M", "--disk", "size=lots"],
        ["vm", "create", "x", "--memory", "64M", "--disk", "size=8388608T"],
        ["vm", "create", "x", "--memory", "64M", "--disk", "size=100T"],
        ["New-VM", "-Name", "x", "-VMHost", "h1", "-DiskGB", "0"],
        ["New-VM", "-Name", "x", "-VMHost", "h1", "-DiskGB", "20,-1"],
        ["New-VM", "-Name", "x", "-VMHost", "h1", "-DiskGB", "8589934592"],
        ["New-VM", "-Name", "x", "-VMHost", "h1", "-DiskGB", "102400"],
        ["New-HardDisk", "good", "-CapacityGB", "0"],
        ["New-HardDisk", "good", "-CapacityGB", "102400"],
        ["Set-HardDisk", "good/vda", "-CapacityGB", "1", "-Confirm:$false"],
      ],
    });
    await refused({
      title: "what is not there",
      exitCode: 66,
      says: /field: +|what to do: +/,
      lines: [
        ["vm", "create", "x", "--memory", "64M", "--disk", "path=/nonexistent.qcow2"],
        ["vm", "create", "x", "--memory", "64M", "--disk", "path=/etc/passwd"],
        ["vm", "create", "x", "--memory", "64M", "--disk", "path=/srv/../etc/shadow"],
        ["vm", "create", "x", "--memory", "64M", "--disk", "image=nosuch"],
        ["vm", "create", "x", "--memory", "64M", "--disk", "volume=nosuch"],
        ["vm", "create", "x", "--memory", "64M", "--disk", "1G,pool=nosuch"],
        ["vm", "create", "x", "--memory", "64M", "--cdrom", "/etc/shadow"],
        ["New-VM", "-Name", "x", "-VMHost", "h1", "-DiskPath", "/etc/passwd"],
        ["New-VM", "-Name", "x", "-VMHost", "h1", "-DiskPath", "[shared] nosuch.qcow2"],
        ["New-VM", "-Name", "x", "-VMHost", "h1", "-DiskPath", "[nosuch] x"],
        ["New-VM", "-Name", "x", "-VMHost", "h1", "-ContentLibraryItem", "nosuch"],
        ["New-VM", "-Name", "x", "-VMHost", "h1", "-Datastore", "nosuch"],
        ["New-VM", "-Name", "x", "-ResourcePool", "nosuch"],
        ["New-VM", "-Name", "x", "-Template", "nosuch"],
        ["New-HardDisk", "good", "-DiskPath", "/etc/passwd"],
        ["Move-VM", "good", "nosuch"],
        ["Remove-VM", "nosuch", "-Confirm:$false"],
        ["Set-VM", "good", "-Snapshot", "nosuch", "-Confirm:$false"],
      ],
    });
  });

  test("files of a request that hold none", async () => {
    const rows: readonly (readonly [title: string, content: string | Buffer, says: RegExp])[] = [
      ["a field that there is not", '{"memory":{"sizeMiB":64},"colour":"red"}', /field: +colour/],
      ["a field that there is not, in YAML", "memory:\n  sizeMiB: 64\n  unit: GiB\n", /field: +memory\.unit/],
      ["text for a number", '{"memory":{"sizeMiB":"64"}}', /field: +memory\.sizeMiB/],
      ["a list for an object", '{"memory":{"sizeMiB":64},"cpu":[1]}', /field: +cpu/],
      ["a list", "[1, 2]", /holds no object[^]*field: +--spec/],
      ["nothing", "", /holds no object[^]*field: +--spec/],
      [
        "bad UTF-8",
        Buffer.from('{"memory":{"sizeMiB":64},"description":"\u00ff"}', "latin1"),
        /is not UTF-8[^]*--spec/,
      ],
      ["neither JSON nor YAML", '{"memory": {"sizeMiB": 64}}}', /neither JSON nor YAML[^]*field: +--spec/],
      ["an escape sequence", "memory: \u001b[31m: {", /neither JSON nor YAML[^]*field: +--spec/],
      ["a key twice", '{"memory":{"sizeMiB":64},"memory":{"sizeMiB":65}}', /neither JSON nor YAML[^]*--spec/],
      ["depth without end", "[".repeat(20_000), /neither JSON nor YAML[^]*field: +--spec/],
      ["50 MB", Buffer.alloc(50_000_000, '{"memory":{"sizeMiB":64}}\n'), /holds more than 1 MiB[^]*field: +--spec/],
    ];
    const file = path.join(folder.path, "spec");
    for (const [title, content, says] of rows) {
      await writeFile(file, content);
      await refused({ title, exitCode: 65, says, lines: [["vm", "create", "x", "--spec", file]] });
    }
    const lines = [folder.path, path.join(folder.path, "nosuch")].map((where) => [
      "vm",
      "create",
      "x",
      "--spec",
      where,
    ]);
    await refused({ title: "no file", exitCode: 65, says: /can't be read[^]*field: +--spec/, lines });
  });

  test("files that are no images, or lead out of their pool", async () => {
    const made = await badImages(folder.path);
    for (const { name, says } of made) {
      await refused({
        title: name,
        exitCode: 65,
        says,
        lines: [["image", "upload", path.join(folder.path, name), "--name", "bad", "--pool", "h1/shared"]],
      });
    }
  });

  test("the same files, put into a pool behind our back", async () => {
    const made = await badImages(plane.lab.sharedFolder);
    await plane.output("pool", "refresh", "h1/shared");
    for (const { name, inPool } of made) {
      if (inPool === undefined) continue;
      await refused({
        title: name,
        exitCode: inPool.exitCode,
        says: inPool.says,
        lines: [
          ["vm", "create", "x", "--memory", "64M", "--disk", `path=${path.join(plane.lab.sharedFolder, name)}`],
          ["vm", "create", "x", "--memory", "64M", "--disk", `volume=h1/shared/${name}`],
          ["vm", "set", "good", "--add-disk", `volume=h1/shared/${name}`],
          ["image", "create", "bad", "--volume", `h1/shared/${name}`],
          ["New-VM", "-Name", "x", "-VMHost", "h1", "-DiskPath", `[shared] ${name}`],
          ["New-HardDisk", "good", "-DiskPath", `[shared] ${name}`],
        ],
      });
    }
  });

  test("addresses that are taken", async () => {
    const [adapter] = JSON.parse(await plane.output("Get-NetworkAdapter", "good", "-o", "json")) as {
      MacAddress: string;
    }[];
    const mac = adapter?.MacAddress ?? "";
    await refused({
      title: "a MAC address twice",
      exitCode: 69,
      says: /already VM good's[^]*field: +nics/,
      lines: [
        ["vm", "create", "x", "--memory", "64M", "--network", `default,mac=${mac}`],
        ["vm", "create", "x", "--memory", "64M", "--network", `default,mac=${mac.toUpperCase()}`],
        ["vm", "set", "good", "--add-nic", `default,mac=${mac}`],
        ["New-NetworkAdapter", "good", "-NetworkName", "default", "-MacAddress", mac],
      ],
    });
    await refused({
      title: "MAC addresses that are none",
      exitCode: 65,
      says: /field: +nics/,
      lines: ["01:00:5e:00:00:01", "00:00:00:00:00:00", "52:54:00:12:34", "lots", "ff:ff:ff:ff:ff:ff"].flatMap(
        (bad) => [
          ["vm", "create", "x", "--memory", "64M", "--network", `default,mac=${bad}`],
          ["New-NetworkAdapter", "good", "-NetworkName", "default", "-MacAddress", bad],
        ],
      ),
    });
    await refused({
      title: "two cards of one address",
      exitCode: 65,
      says: /field: +nics/,
      lines: [
        [
          "vm",
          "create",
          "x",
          "--memory",
          "64M",
          "--network",
          "default,mac=52:54:00:00:00:aa",
          "--network",
          "default,mac=52:54:00:00:00:AA",
        ],
      ],
    });
  });

  test("edits that reach out of the guest, or are none", async () => {
    const xml = await plane.output("vm", "xml", "good", "--inactive");
    const file = path.join(folder.path, "edited.xml");
    for (const [title, content, exitCode, says] of [
      ["no XML", "<domain>", 65, /can't be used[^]*field: +domainXml \(--file\)/],
      ["another file", xml.replace(/<source file='[^']*'/, "<source file='/etc/shadow'"), 69, /devices\/disk vda/],
      ["QEMU's arguments", xml.replace("</os>", "</os><seclabel type='none'/>"), 69, /seclabel/],
      ["another name", xml.replace("<name>good<", "<name>other<"), 65, /inn vm rename/],
      ["a password", xml.replace("<devices>", "<devices><graphics type='vnc' passwd='x'/>"), 65, /password/],
      ["10,000 vCPUs", xml.replace(/(<vcpu[^>]*>)\d+/, "$110000"), 65, /logical CPUs/],
      ["50 MB", " ".repeat(50_000_000), 65, /more than 1 MiB/],
    ] as const) {
      await writeFile(file, content);
      await refused({ title, exitCode, says, lines: [["vm", "edit", "good", "--file", file]] });
    }
    await refused({ title: "no terminal", exitCode: 64, says: /needs a terminal/, lines: [["vm", "edit", "good"]] });
    await writeFile(file, xml.replace("<on_crash>destroy<", "<on_crash>restart<"));
    await plane.output("vm", "edit", "good", "--file", file);
    assert.match(await plane.output("vm", "xml", "good", "--inactive"), /<on_crash>restart</);
  });

  test("who comes too late is told what changed, and by whom", async () => {
    const { revision } = JSON.parse(await plane.output("vm", "show", "good", "-o", "json")) as { revision: number };
    await plane.output("vm", "set", "good", "--memory", "96M");
    await refused({
      title: "an older revision",
      exitCode: 75,
      says: /changed: +\S*memory\.sizeMiB: \d+ → 96, by \S+ [^]*\(task-/,
      lines: [["vm", "set", "good", "--memory", "128M", "--if-revision", String(revision)]],
    });
  });

  test("networks that clash", async () => {
    const networks = JSON.parse(await plane.output("network", "list", "-o", "json")) as {
      addresses: string[];
      bridge?: string;
    }[];
    const [taken] = networks.flatMap(({ addresses }) => addresses);
    assert.ok(taken !== undefined);
    await refused({
      title: "an address that another network has",
      exitCode: 69,
      says: /field: +address/,
      lines: [["network", "create", "clash", "--host", "h1", "--nat", taken]],
    });
    await refused({
      title: "addresses that are none",
      exitCode: 65,
      says: /field: +(address|dhcp)/,
      lines: [
        ["network", "create", "x", "--host", "h1", "--nat", "10.300.0.1/24"],
        ["network", "create", "x", "--host", "h1", "--nat", "10.99.0.0/24"],
        ["network", "create", "x", "--host", "h1", "--nat", "10.99.0.1/99"],
        ["network", "create", "x", "--host", "h1", "--nat", "10.99.0.1/24", "--dhcp", "10.98.0.2-10.98.0.9"],
        ["network", "create", "x", "--host", "h1", "--nat", "10.99.0.1/24", "--dhcp", "10.99.0.9-10.99.0.2"],
      ],
    });
  });
});

interface BadImage {
  readonly name: string;
  readonly says: RegExp;
  /** What is said when it lies in a pool; undefined: there it is a raw disk like others. */
  readonly inPool?: { readonly exitCode: number; readonly says: RegExp };
}

const fromPool = /field: +(request\.)?(disks|volumeId)/;

async function qemuImg(...words: string[]): Promise<void> {
  await run("qemu-img", words, { timeout: 60_000 });
}

/** Facts: QEMU docs/interop/qcow2.txt. */
async function badImages(folder: string): Promise<readonly BadImage[]> {
  const at = (name: string): string => path.join(folder, name);
  await writeFile(at("empty.qcow2"), "");
  await writeFile(at("text.qcow2"), "this is no image\n".repeat(100));
  await qemuImg("create", "-q", "-f", "qcow2", at("whole.qcow2"), "64M");
  await qemuImg("create", "-q", "-f", "qcow2", at("cut.qcow2"), "64M");
  await truncate(at("cut.qcow2"), 100);
  await qemuImg("create", "-q", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", at("backing.qcow2"), "1M");
  await qemuImg(
    "create",
    "-q",
    "-f",
    "qcow2",
    "-o",
    `data_file=${at("data.raw")},data_file_raw=on`,
    at("data.qcow2"),
    "1M",
  );
  await using data = await open(at("data.qcow2"), "r+");
  const head = Buffer.alloc(65_536);
  await data.read(head, 0, head.length, 0);
  const name = head.indexOf(at("data.raw"));
  assert.ok(name > 0);
  // Of the same length, so that the header extension stays whole.
  await data.write(Buffer.from("/etc/passwd".padStart(at("data.raw").length, "/")), 0, undefined, name);
  await qemuImg("create", "-q", "-f", "qcow2", at("huge.qcow2"), "1M");
  await using huge = await open(at("huge.qcow2"), "r+");
  const size = Buffer.alloc(8);
  size.writeBigUInt64BE(8n * 1024n ** 6n - 512n); // bytes 24–31: size
  await huge.write(size, 0, 8, 24);
  return [
    { name: "empty.qcow2", says: /field|not a disk image|empty|sizeBytes/ },
    { name: "text.qcow2", says: /not a disk image/ },
    { name: "cut.qcow2", says: /cut off/, inPool: { exitCode: 65, says: fromPool } },
    { name: "backing.qcow2", says: /backing file/, inPool: { exitCode: 65, says: fromPool } },
    { name: "data.qcow2", says: /data file/, inPool: { exitCode: 65, says: fromPool } },
    { name: "huge.qcow2", says: /claims \d+ bytes/, inPool: { exitCode: 65, says: fromPool } },
  ];
}
