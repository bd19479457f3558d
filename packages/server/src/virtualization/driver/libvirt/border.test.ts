/** The driver's borders, each by itself: pictures, the way to a VNC server, the guest agent's parameters, capabilities. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { inflateSync } from "node:zlib";
import { suite, test } from "node:test";
import { AppError } from "#core/app-error.ts";
import { silentLogger } from "#core/log.ts";
import { systemClock } from "#core/system-clock.ts";
import { type Element, parseXml } from "#libvirt/xml.ts";
import { guestOf } from "./agent.ts";
import { createLibvirtHypervisor } from "./hypervisor.ts";
import { readCapabilities } from "./platform.ts";
import { ppmToPng } from "./png.ts";
import { openVnc, vncEndpoint } from "./vnc.ts";

suite("pictures", () => {
  test("a PPM becomes a PNG with the same pixels", () => {
    const pixels = Buffer.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 1, 2, 3]);
    const png = Buffer.from(ppmToPng(Buffer.concat([Buffer.from("P6\n# x\n2 2\n255\n"), pixels])) ?? []);
    assert.equal(png.readUInt32BE(16), 2);
    const length = png.readUInt32BE(33);
    const rows = inflateSync(png.subarray(41, 41 + length));
    assert.deepEqual([...rows], [0, 255, 0, 0, 0, 255, 0, 0, 0, 0, 255, 1, 2, 3]);
    for (const bad of ["", "P5 1 1 255 x", "P6 2 2 255 short", "P6 0 0 255 "]) {
      assert.equal(ppmToPng(Buffer.from(bad)), undefined, bad);
    }
  });
});

function guest(graphics: string): Element {
  return parseXml(`<domain><devices>${graphics}</devices></domain>`);
}

function listening(address: string): Element {
  return guest(`<graphics type='vnc' port='5901'><listen type='address' address='${address}'/></graphics>`);
}

function unsupported(error: unknown): boolean {
  return error instanceof AppError && error.code === "unsupported";
}

suite("the way to a VNC server", () => {
  test("is direct on this machine, by the host's address elsewhere, and refused where there is none", () => {
    assert.deepEqual(vncEndpoint(listening("0.0.0.0"), "qemu:///system"), { host: "127.0.0.1", port: 5901 });
    assert.deepEqual(vncEndpoint(listening("127.0.0.1"), "qemu:///system"), { host: "127.0.0.1", port: 5901 });
    assert.deepEqual(vncEndpoint(listening("0.0.0.0"), "qemu+tls://h1/system"), { host: "h1", port: 5901 });
    assert.deepEqual(vncEndpoint(listening("10.1.2.3"), "qemu+ssh://h1/system"), { host: "10.1.2.3", port: 5901 });
    assert.throws(() => vncEndpoint(listening("127.0.0.1"), "qemu+tls://h1/system"), unsupported);
    const socket = guest("<graphics type='vnc'><listen type='socket' socket='/run/v.sock'/></graphics>");
    assert.deepEqual(vncEndpoint(socket, "qemu:///system"), { path: "/run/v.sock" });
    assert.throws(() => vncEndpoint(socket, "qemu+tls://h1/system"), unsupported);
    assert.throws(() => vncEndpoint(guest("<graphics type='spice'/>"), "qemu:///system"), unsupported);
    assert.throws(() => vncEndpoint(guest("<graphics type='vnc' port='-1'/>"), "qemu:///system"), unsupported);
  });

  test("bytes go both ways until the signal", async () => {
    const server = createServer((socket) => socket.on("error", () => {}).pipe(socket));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    assert(address !== null && typeof address === "object");
    const over = new AbortController();
    const channel = await openVnc({ host: "127.0.0.1", port: address.port }, over.signal);
    const writer = channel.writable.getWriter();
    const reader = channel.readable.getReader();
    await writer.write(Buffer.from("RFB 003.008\n"));
    assert.equal(Buffer.from((await reader.read()).value ?? []).toString(), "RFB 003.008\n");
    const ended = Promise.allSettled([reader.closed, writer.closed]);
    over.abort();
    await ended;
    server.close();
    await assert.rejects(openVnc({ host: "127.0.0.1", port: address.port }, AbortSignal.timeout(5000)), AppError);
  });
});

suite("what hosts and guests say of themselves", () => {
  test("the guest agent's parameters", () => {
    const guest = guestOf({
      hostname: "h",
      "os.pretty-name": "Debian",
      "user.count": 2,
      "user.0.name": "a",
      "user.1.name": "a",
      "fs.count": 1,
      "fs.0.mountpoint": "/",
      "fs.0.fstype": "ext4",
      "fs.0.total-bytes": 10n,
      "fs.0.disk.count": 1,
      "fs.0.disk.0.alias": "vda",
    });
    assert.deepEqual(guest, {
      hostname: "h",
      osName: "Debian",
      users: ["a"],
      fileSystems: [{ mountPoint: "/", type: "ext4", totalBytes: 10, disks: ["vda"] }],
    });
  });

  test("domain capabilities: what is not said is not denied", () => {
    const { tpm, firmwares, cpuModes } = readCapabilities(parseXml("<domainCapabilities/>"));
    assert.deepEqual({ tpm, firmwares, cpuModes }, { tpm: undefined, firmwares: undefined, cpuModes: [] });
    const said = readCapabilities(
      parseXml(`<domainCapabilities><devices><tpm supported='no'/></devices><cpu>
        <mode name='custom' supported='yes'><model usable='yes'>A</model><model usable='no'>B</model></mode></cpu></domainCapabilities>`),
    );
    assert.deepEqual([said.tpm, said.cpuModels], [false, ["A"]]);
  });

  test("a hypervisor claims no more than its driver can", () => {
    const session = { connection: async () => await Promise.reject(new Error("not called")) };
    const context = { session, log: silentLogger, clock: systemClock };
    const of = (uri: string) => createLibvirtHypervisor({ ...context, uri }).capability;
    assert.deepEqual(of("qemu+ssh://root@h/system"), { snapshot: true, migration: true, console: true });
    assert.deepEqual(of("lxc:///system"), { snapshot: false, migration: false, console: true });
    assert.deepEqual(of("test:///default"), { snapshot: false, migration: false, console: false });
    assert.deepEqual(of("xen:///system"), { snapshot: false, migration: false, console: false });
  });
});
