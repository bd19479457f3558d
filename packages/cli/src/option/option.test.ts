/** What options become in a request, and the words with which wrong ones are refused. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { TSchema } from "typebox";
import { VmDiskCreate, VmNicCreate, vmCreateHardware } from "@innkeeper/contract/resource/vm-spec.ts";
import { CliError } from "#cli-error.ts";
import { diskBytesOf, Options, sizeMiBOf } from "#invocation.ts";
import { diskChangeOf, diskOf, diskWords, nicModels, nicOf } from "#option/device.ts";
import { Pairs } from "#option/pairs.ts";
import { cpuChangeOf, cpuOf, hardwareOf, hardwareWords, memoryOf, pinOf, vmFieldOption } from "#option/vm.ts";

const noVolume = async (): Promise<never> => await Promise.reject(new Error("no volume is looked up"));
const disk = async (text: string) => await diskOf("--disk", text, noVolume);

function refuses(pattern: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CliError, String(error));
    assert.match(error.message, pattern);
    assert.equal(error.detail.exitCode, 65);
    return true;
  };
}

const ms = (text: string) => new Options({ timeout: text }).durationMs("timeout");

function words(schema: TSchema | undefined): readonly string[] {
  const { enum: found } = schema as unknown as { enum?: readonly string[] };
  assert.ok(found !== undefined);
  return found.toSorted();
}

suite("sizes", () => {
  test("memory is in MiB, disks in GiB, unless they say", () => {
    assert.equal(sizeMiBOf("4096", "--memory"), 4096);
    assert.equal(sizeMiBOf("4G", "--memory"), 4096);
    assert.equal(sizeMiBOf("1.5GiB", "--memory"), 1536);
    assert.equal(diskBytesOf("20", "--size"), 20 * 1024 ** 3);
    assert.equal(diskBytesOf("20GB", "--size"), 20e9);
    assert.equal(diskBytesOf("1.5T", "--size"), 1.5 * 1024 ** 4);
  });

  test("what is no size is refused", () => {
    for (const text of ["", "four", "-1G", "4X", "1e3", "0x10", "4 G G"]) {
      assert.throws(() => sizeMiBOf(text, "--memory"), refuses(/no size/));
    }
    assert.throws(() => sizeMiBOf("100k", "--memory"), refuses(/whole number of MiB/));
    assert.throws(() => diskBytesOf("9999999P", "--size"), refuses(/no size/));
  });

  test("durations", () => {
    assert.deepEqual([ms("90"), ms("90s"), ms("5m"), ms("1h"), ms("300ms")], [90_000, 90_000, 300_000, 3_600_000, 300]);
    assert.throws(() => ms("soon"), refuses(/no duration/));
  });
});

suite("--disk", () => {
  test("new disks, images, overlays, drives", async () => {
    assert.deepEqual(await disk("20G"), { capacityBytes: 20 * 1024 ** 3 });
    assert.deepEqual(await disk("size=20"), { capacityBytes: 20 * 1024 ** 3 });
    assert.deepEqual(await disk("image=debian,linked,size=40G,pool=fast,bus=scsi"), {
      pool: "fast",
      bus: "scsi",
      capacityBytes: 40 * 1024 ** 3,
      image: "debian",
      linked: true,
    });
    assert.deepEqual(await disk("device=cdrom"), { device: "cdrom" });
    assert.deepEqual(await disk("path=/srv/a,,b.qcow2,readonly,cache=none,io=native,discard=no"), {
      path: "/srv/a,b.qcow2",
      cache: "none",
      io: "native",
      discard: false,
      readOnly: true,
    });
    assert.deepEqual(
      await disk("size=1G,iops=500,read-bytes-per-second=10M,iothread=1,serial=AB 12,boot=1,target=vdb"),
      {
        target: "vdb",
        capacityBytes: 1024 ** 3,
        ioThread: 1,
        serialNumber: "AB 12",
        bootOrder: 1,
        ioLimit: { readBytesPerSecond: 10 * 1024 ** 2, totalIops: 500 },
      },
    );
  });

  test("a volume is looked up by name", async () => {
    const found = await diskOf("--disk", "volume=h1/pool/data", async (name) => {
      assert.equal(name, "h1/pool/data");
      return "vol-0123456789ab";
    });
    assert.deepEqual(found, { volumeId: "vol-0123456789ab" });
  });

  test("wrong ones are refused by name", async () => {
    for (const [text, pattern] of [
      ["size=20G,sise=3", /no "sise"/],
      ["size=20G,size=30G", /twice/],
      ["size=", /size is empty/],
      ["size=20G,bus=virtoi", /bus is one of/],
      ["size=20G,linked=perhaps", /linked is yes or no/],
      ["size=20G,linked", /linked needs an image/],
      ["image=a,path=/b", /exclude one another/],
      ["path=/b,size=2G", /size is for a new disk/],
      ["bus=scsi", /one of size, image, volume and path/],
      ["size=20G,,", /no size/],
      ["size=20G,iothread=-1", /whole number/],
      ["", /empty part/],
    ] as const) {
      await assert.rejects(disk(text), refuses(pattern), text);
    }
  });

  test("changes of a disk", () => {
    assert.deepEqual(diskChangeOf("--change-disk", "vda,size=40G"), { target: "vda", capacityBytes: 40 * 1024 ** 3 });
    assert.deepEqual(diskChangeOf("--change-disk", "sda,eject"), { target: "sda", source: null });
    assert.throws(() => diskChangeOf("--change-disk", "vda"), refuses(/nothing to change/));
    assert.throws(() => diskChangeOf("--change-disk", "size=40G"), refuses(/target/));
  });
});

suite("--network", () => {
  test("networks, bridges and what goes with them", () => {
    assert.deepEqual(nicOf("--network", "default"), { network: "default" });
    assert.deepEqual(nicOf("--network", "bridge=br0,model=e1000e,link=down,mac=52:54:00:12:34:56"), {
      bridge: "br0",
      mac: "52:54:00:12:34:56",
      model: "e1000e",
      linkUp: false,
    });
    assert.throws(() => nicOf("--network", "default,bridge=br0"), refuses(/either/));
    assert.throws(() => nicOf("--network", "model=virtio"), refuses(/either/));
  });
});

suite("hardware", () => {
  test("CPU and memory", () => {
    const options = new Options({ vcpus: "4", pin: ["0=1-2", "1:3"], topology: "2,cores=2", cpuShares: "2048" });
    assert.deepEqual(cpuOf(options), {
      count: 4,
      topology: { sockets: 2, cores: 2, threads: 1 },
      pinning: [
        { vcpu: 0, hostCpus: "1-2" },
        { vcpu: 1, hostCpus: "3" },
      ],
      shares: 2048,
    });
    assert.deepEqual(memoryOf(new Options({ memory: "4G", hugepages: "2M", numaCell: ["0-1,memory=2G,nodes=0"] })), {
      sizeMiB: 4096,
      hugepageKiB: 2048,
      numaCells: [{ cpus: "0-1", memoryMiB: 2048, hostNodes: "0" }],
    });
    assert.equal(cpuOf(new Options({})), undefined);
    assert.equal(cpuChangeOf(new Options({})), undefined);
    const less = new Options({ unpin: true, normalCpuShares: true, vcpus: "2" });
    assert.deepEqual(cpuChangeOf(less), { pinning: [], emulatorPinning: null, shares: null, count: 2 });
    assert.throws(() => pinOf("zero=1"), refuses(/pins nothing/));
    assert.throws(() => cpuOf(new Options({ vcpus: "two" })), refuses(/whole number/));
  });

  test("firmware", () => {
    assert.deepEqual(hardwareOf(new Options({ uefi: true, tpm: true })), { firmware: "uefi", tpm: true });
    assert.deepEqual(hardwareOf(new Options({ uefi: true, secureBoot: true })), { firmware: "uefi-secure" });
    assert.deepEqual(hardwareOf(new Options({ serial: false })), { serial: false });
    assert.throws(() => hardwareOf(new Options({ bios: true, uefi: true })), /contradicts/);
  });

  test("a field of the request is named as the option that was typed", () => {
    assert.equal(vmFieldOption("memory.sizeMiB"), "--memory");
    assert.equal(vmFieldOption("disks.0.image"), "--disk (disks.0.image)");
    assert.equal(vmFieldOption("request.cpu.pinning[1].hostCpus"), "--pin (request.cpu.pinning[1].hostCpus)");
    assert.equal(vmFieldOption("name"), "<name>");
  });
});

suite("the words of the contract", () => {
  test("are the words of the options", () => {
    const { properties } = VmDiskCreate;
    for (const name of ["bus", "device", "format", "cache", "io"] as const) {
      assert.deepEqual(diskWords[name].toSorted(), words(properties[name]), name);
    }
    assert.deepEqual(nicModels.toSorted(), words(VmNicCreate.properties.model));
    for (const name of ["graphics", "video"] as const) {
      assert.deepEqual(hardwareWords[name].toSorted(), words(vmCreateHardware[name]), name);
    }
  });
});

test("pairs: a leading word that is a key is a flag", () => {
  const pairs = new Pairs("--x", "linked,size=1", ["size", "linked"], "size");
  assert.equal(pairs.flag("linked"), true);
  assert.equal(pairs.text("size"), "1");
});
