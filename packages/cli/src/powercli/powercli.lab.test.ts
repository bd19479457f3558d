/** The life of VMs on two real hosts by PowerCLI's cmdlets as people type them: made, started, snapped, moved, changed, removed. */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { LabServer } from "#test-support/lab-server.ts";
import type { Captured } from "#test-support/captured.ts";

type PowerCliObject = Readonly<Record<string, unknown>>;

function lines(output: string): PowerCliObject[] {
  return output
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as PowerCliObject);
}

function succeeded(result: Captured): PowerCliObject[] {
  assert.equal(result.exitCode, 0, result.errors);
  return lines(result.output);
}

suite("PowerCLI's cmdlets on real hosts", { timeout: 900_000 }, () => {
  let plane: LabServer;
  let filesBefore: string[];
  before(async () => {
    plane = await LabServer.up({ name: `powercli-${process.pid}`, hostCount: 2 });
    filesBefore = await readdir(plane.lab.sharedFolder);
  });
  after(async () => {
    await plane?.[Symbol.asyncDispose]();
  });

  /** The objects that a cmdlet prints into a pipe. */
  async function objects(...words: string[]): Promise<PowerCliObject[]> {
    return lines(await plane.output(...words));
  }

  async function one(...words: string[]): Promise<PowerCliObject> {
    const [object, ...others] = await objects(...words);
    assert.ok(object !== undefined && others.length === 0, `${words.join(" ")}: one object`);
    return object;
  }

  /** `first | second`. */
  async function pipe(first: readonly string[], second: readonly string[]): Promise<Captured> {
    return await plane.inn(second, { input: await plane.output(...first) });
  }

  test("New-VM, Get-VM: defaults, tables, JSON, wildcards", async () => {
    const made = await one("New-VM", "-Name", "Ubuntu-Server", "-ResourcePool", "Resources", "-Datastore", "shared");
    assert.deepEqual(
      [made["Name"], made["PowerState"], made["NumCpu"], made["MemoryMB"]],
      ["Ubuntu-Server", "PoweredOff", 1, 256],
    );
    const [disk] = await objects("Get-HardDisk", "-VM", "ubuntu-server");
    assert.equal(disk?.["CapacityGB"], 4);
    assert.match(String(disk?.["Filename"]), /^\[shared\] Ubuntu-Server/);
    const web = await one(
      ..."new-vm -name web1 -vmhost h1 -datastore shared -contentlibraryitem guest -memorymb 96 -networkname default".split(
        " ",
      ),
      "-Notes",
      "front end",
    );
    assert.deepEqual([web["VMHost"], web["Notes"], web["MemoryGB"]], ["h1", "front end", 0.094]);
    const { output: table } = await plane.inn(["Get-VM"], { columns: 100 });
    assert.equal(
      table,
      [
        "Name           PowerState  Num CPUs  MemoryGB",
        "----           ----------  --------  --------",
        "Ubuntu-Server  PoweredOff         1     0.250",
        "web1           PoweredOff         1     0.094",
        "",
      ].join("\n"),
    );
    assert.deepEqual(
      (await objects("Get-VM", "WEB?")).map((vm) => vm["Name"]),
      ["web1"],
    );
    assert.deepEqual(await objects("Get-VM", "nothing*"), []);
    assert.deepEqual((await objects("Get-VM", "-Location", "h1,h2", "-Datastore", "shared")).length, 2);
    const missing = await plane.inn(["Get-VM", "-Name", "nosuch,web1"]);
    assert.deepEqual([missing.exitCode, lines(missing.output).length], [66, 1]);
    assert.match(missing.errors, /there is no VM "nosuch"\n {2}field: {6}-Name/);
    const document = JSON.parse(await plane.output("Get-VM", "web1", "-o", "json")) as PowerCliObject[];
    assert.equal(document[0]?.["Id"], web["Id"]);
  });

  test("Start-VM, New-Snapshot, Set-VM -Snapshot, Stop-VM as the issue types them", async () => {
    assert.equal((await one("Start-VM", "-VM", "Ubuntu-Server"))["PowerState"], "PoweredOn");
    const snapshot = await one(
      "New-Snapshot",
      "-VM",
      "Ubuntu-Server",
      "-Name",
      "Backup-2024-01",
      "-Description",
      "Monthly backup snapshot",
    );
    assert.deepEqual(
      [snapshot["Name"], snapshot["Description"], snapshot["VM"], snapshot["IsCurrent"]],
      ["Backup-2024-01", "Monthly backup snapshot", "Ubuntu-Server", true],
    );
    const { output: table } = await plane.inn(["get-snapshot", "ubuntu-server"], { columns: 100 });
    assert.match(
      table,
      /^Name +Description +PowerState\n-+ +-+ +-+\nBackup-2024-01 +Monthly backup snapshot +PoweredOn\n$/,
    );
    const unasked = await plane.inn(["Stop-VM", "-VM", "Ubuntu-Server"]);
    assert.equal(unasked.exitCode, 64);
    assert.match(unasked.errors, /Stop-VM asks first, and there is no terminal.*\n.*-Confirm:\$false/);
    const whatIf = await plane.inn(["Stop-VM", "-VM", "Ubuntu-Server", "-WhatIf"]);
    assert.match(whatIf.errors, /^What if: Performing the operation "Power off VM" on target "Ubuntu-Server"\.\n$/);
    const no = await plane.inn(["Stop-VM", "Ubuntu-Server"], { inputIsTerminal: true, input: "n\n" });
    assert.match(no.errors, /Are you sure you want to perform this action\?/);
    assert.equal((await one("Get-VM", "Ubuntu-Server"))["PowerState"], "PoweredOn");
    const yes = await plane.inn(["Suspend-VM", "Ubuntu-Server"], { inputIsTerminal: true, input: "y\n" });
    assert.equal(succeeded(yes)[0]?.["PowerState"], "Suspended");
    assert.equal((await one("Start-VM", "Ubuntu-Server"))["PowerState"], "PoweredOn");
    assert.equal((await one("Restart-VM", "Ubuntu-Server", "-Confirm:"))["PowerState"], "PoweredOn");
    assert.equal((await one("Stop-VM", "-VM", "Ubuntu-Server", "-Confirm:$false"))["PowerState"], "PoweredOff");
    const reverted = await one("Set-VM", "-VM", "Ubuntu-Server", "-Snapshot", "backup-2024-01", "-Confirm:$false");
    assert.deepEqual([reverted["Name"], reverted["PowerState"]], ["Ubuntu-Server", "PoweredOn"]);
    await plane.output("Stop-VM", "Ubuntu-Server", "-Confirm:$false");
  });

  test("objects through pipes; -RunAsync and Wait-Task", async () => {
    const tasks = await plane.output("Start-VM", "web1", "-RunAsync");
    const [waited] = succeeded(await plane.inn(["Wait-Task"], { input: tasks }));
    assert.deepEqual([waited?.["State"], waited?.["Target"]], ["Success", "web1"]);
    const [guest] = succeeded(await pipe(["Get-VM", "web*"], ["Get-VMGuest"]));
    assert.equal(guest?.["VmName"], "web1");
    const [stopped] = succeeded(await pipe(["Get-VM", "web*", "-o", "json"], ["Stop-VM", "-Confirm:$false"]));
    assert.equal(stopped?.["PowerState"], "PoweredOff");
    const [started] = succeeded(await plane.inn(["Start-VM"], { input: "web1\n" }));
    assert.equal(started?.["PowerState"], "PoweredOn");
    assert.deepEqual(succeeded(await pipe(["Get-VM", "none*"], ["Stop-VM", "-Confirm:$false"])), []);
    const wrong = await pipe(["Get-VM", "web1"], ["Remove-Snapshot", "-Confirm:$false"]);
    assert.equal(wrong.exitCode, 64, wrong.errors);
    const stats = await objects("Get-Stat", "web1", "-Stat", "cpu.*,mem.*");
    assert.ok(stats.some((stat) => stat["MetricId"] === "cpu.usage.average" && stat["Unit"] === "%"));
  });

  test("Move-VM, Set-VMHost -State Maintenance -Evacuate, Get-VMHost, Get-Datastore", async () => {
    assert.equal((await one("Move-VM", "-VM", "web1", "-Destination", "h2"))["VMHost"], "h2");
    const there = await plane.inn(["Move-VM", "web1", "nowhere"]);
    assert.equal(there.exitCode, 66);
    assert.match(there.errors, /no resource pools and datacenters/);
    const evacuated = await plane.inn(["Set-VMHost", "-VMHost", "h2", "-State", "Maintenance", "-Evacuate"]);
    assert.equal(succeeded(evacuated)[0]?.["ConnectionState"], "Maintenance");
    assert.deepEqual(
      (await objects("Get-VM", "-Location", "h2")).map((vm) => vm["Name"]),
      [],
    );
    assert.deepEqual(
      (await objects("Get-VMHost", "-State", "Maintenance")).map((host) => host["Name"]),
      ["h2"],
    );
    assert.equal((await one("Set-VMHost", "h2", "Connected"))["ConnectionState"], "Connected");
    assert.equal((await one("Get-VMHost", "-VM", "web1"))["Name"], "h1");
    assert.deepEqual((await one("Get-Datastore", "shared"))["VMHost"], ["h1", "h2"]);
    assert.equal((await one("Get-Datastore", "-VM", "web1"))["Name"], "shared");
  });

  test("hardware: Set-VM, hard disks, network adapters, CD drives", async () => {
    const changed = await plane.inn(["Set-VM", "web1", "-NumCpu", "2", "-CoresPerSocket", "2", "-Confirm:$false"]);
    assert.equal(succeeded(changed).length, 1);
    assert.match(changed.errors, /WARNING: web1: .*cpu.* will change at its next start/);
    // A guest that still boots does not let go of its devices.
    await plane.output("Stop-VM", "web1", "-Confirm:$false");
    const disk = await one(
      ..."New-HardDisk -VM web1 -CapacityGB 0.125 -Datastore shared -StorageFormat EagerZeroedThick".split(" "),
    );
    assert.deepEqual([disk["Name"], disk["CapacityGB"], disk["StorageFormat"]], ["Hard disk 2", 0.125, "Thick"]);
    const [grown] = succeeded(
      await plane.inn(["Set-HardDisk", "-CapacityGB", "0.25", "-Confirm:$false"], {
        input: await plane.output("Get-HardDisk", "web1", "-Name", "Hard disk 2"),
      }),
    );
    assert.equal(grown?.["CapacityGB"], 0.25);
    await plane.output("Remove-HardDisk", "web1/Hard disk 2", "-DeletePermanently", "-Confirm:$false");
    assert.equal((await objects("Get-HardDisk", "web1")).length, 1);
    const adapter = await one(
      "New-NetworkAdapter",
      "-VM",
      "web1",
      "-NetworkName",
      "default",
      "-Type",
      "vmxnet3",
      "-StartConnected",
    );
    assert.deepEqual([adapter["Name"], adapter["Type"]], ["Network adapter 2", "virtio"]);
    const down = await one("Set-NetworkAdapter", "web1/network adapter 2", "-Connected", "$false", "-Confirm:$false");
    assert.deepEqual(down["ConnectionState"], { Connected: false, StartConnected: false });
    await plane.output("Remove-NetworkAdapter", String(down["Id"]), "-Confirm:$false");
    const drive = await one(
      "New-VM",
      "-Name",
      "installer",
      "-VMHost",
      "h1",
      "-CD",
      "-DiskGB",
      "0.01,0.02",
      "-Datastore",
      "shared",
    );
    assert.equal((await objects("Get-HardDisk", String(drive["Id"]))).length, 2);
    const inserted = await one(
      "Set-CDDrive",
      "installer/CD/DVD drive 1",
      "-IsoPath",
      "[shared] guest.qcow2",
      "-Confirm:$false",
    );
    assert.match(String(inserted["IsoPath"]), /guest\.qcow2$/);
    assert.equal((await one("Set-CDDrive", String(inserted["Id"]), "-NoMedia", "-Confirm:$false"))["IsoPath"], null);
  });

  test("clones, templates, and the end: nothing is left", async () => {
    await plane.output("New-Snapshot", "web1", "clean");
    const clone = await one(..."New-VM -Name test1 -VM web1 -LinkedClone -ReferenceSnapshot clean".split(" "));
    assert.equal(clone["Name"], "test1");
    await plane.output("Set-VM", "test1", "-Name", "golden", "-ToTemplate", "-Confirm:$false");
    assert.deepEqual(
      (await objects("Get-Template")).map((vm) => vm["Name"]),
      ["golden"],
    );
    assert.ok(!(await objects("Get-VM")).some((vm) => vm["Name"] === "golden"));
    assert.equal((await one("New-VM", "-Name", "from-golden", "-Template", "golden"))["Name"], "from-golden");
    await plane.output("Set-Template", "golden", "-ToVM");
    await plane.output("Remove-VM", "golden,from-golden,installer", "-DeletePermanently", "-Confirm:$false");
    succeeded(await pipe(["Get-Snapshot", "-VM", "web1"], ["Remove-Snapshot", "-Confirm:$false"]));
    await plane.output("Remove-Snapshot", "-VM", "Ubuntu-Server", "-Snapshot", "Backup-2024-01", "-Confirm:$false");
    assert.deepEqual(await objects("Get-Snapshot", "*"), []);
    assert.ok((await objects("Get-VIEvent", "web1", "-MaxSamples", "5")).length > 0);
    assert.ok((await objects("Get-Task", "Success")).length > 10);
    succeeded(await pipe(["Get-VM"], ["Remove-VM", "-DeletePermanently", "-Confirm:$false"]));
    assert.deepEqual(await readdir(plane.lab.sharedFolder), filesBefore);
  });
});
