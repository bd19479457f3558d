/** Every method of the virtualization port against real libvirt hosts of a lab, with a real guest. Needs root. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import { waitFor } from "@innkeeper/lab/wait.ts";
import { AppError } from "#core/app-error.ts";
import {
  guestDisk,
  labHypervisor,
  type LabHypervisor,
  labNic,
  SerialConsole,
  hasCode,
  testDefinition,
  testMetadata,
} from "./test-support/lab-hypervisor.ts";

const signal = AbortSignal.timeout(1_800_000);
/** Of one wait for a guest. */
const timeoutMs = 180_000;
const call = { signal };

suite("guests on a real host", () => {
  let lab: Lab;
  let h1: LabHypervisor;

  before(async () => {
    await guestImage({ signal });
    lab = await Lab.up({ name: `guest-${process.pid}`, hostCount: 1, signal });
    h1 = await labHypervisor(lab, 0);
  });
  after(async () => {
    await h1?.[Symbol.asyncDispose]();
    await lab?.down();
  });

  test("a guest is defined, seen, started, used and shut down", async () => {
    const { inventory, lifecycle, console } = h1.guest;
    const definition = testDefinition("alpha", {
      cpu: { count: 2 },
      graphics: "vnc",
      disks: [await guestDisk(lab, "alpha")],
      nics: [labNic()],
    });
    await lifecycle.check(definition, call);
    const guest = await lifecycle.define(definition, call);
    assert.equal(guest.state, "shutoff");
    assert.equal(guest.persistent, true);
    assert.deepEqual(guest.metadata, definition.metadata);
    assert.deepEqual(await inventory.addresses(guest.uuid, { agentConnected: false }, call), []);
    await lifecycle.forceOff(guest.uuid, call);
    await lifecycle.start(guest.uuid, {}, call);
    await assert.rejects(lifecycle.start(guest.uuid, {}, call), hasCode("invalid_state"));
    await assert.rejects(lifecycle.undefine(guest.uuid, {}, call), hasCode("invalid_state"));
    await using serial = new SerialConsole(await console.serial(guest.uuid, { force: false }, call));
    await assert.rejects(console.serial(guest.uuid, { force: false }, call), hasCode("conflict"));
    await serial.expect(/INNKEEPER-GUEST READY/);
    assert.match(await serial.run("echo $((40+2))"), /42/);
    const [, address] = await serial.expect(/INNKEEPER-GUEST ADDRESS eth0 ([0-9.]+)/);
    const running = await inventory.read(guest.uuid, call);
    assert.equal(running.state, "running");
    assert.equal(running.stateDetail, "booted");
    assert.deepEqual(running.pendingChanges, []);
    assert.match(running.spec.cpu.model ?? "", /^(host-model|maximum)$/);
    const listed = (await inventory.list(call)).find((each) => each.uuid === guest.uuid);
    assert.deepEqual(listed, await inventory.read(guest.uuid, call));
    const { mark } = running;
    const known = await inventory.readChanged(guest.uuid, mark, call);
    assert.deepEqual(
      Object.keys(running)
        .filter((key) => !(key in known))
        .toSorted(),
      ["description", "guestAgentConnected", "metadata", "pendingChanges", "spec"],
    );
    assert.deepEqual({ ...running, ...known }, running);
    assert.deepEqual(await inventory.readChanged(guest.uuid, "another", call), running);
    const changed = await inventory.listChanged(new Map([[guest.uuid, mark]]), call);
    assert.deepEqual(
      changed.find((each) => each.uuid === guest.uuid),
      known,
    );
    const addresses = await inventory.addresses(guest.uuid, { agentConnected: false }, call);
    assert(addresses.some((each) => each.address === address));
    assert.match(await inventory.xml(guest.uuid, { inactive: false }, call), /<domain type='qemu' id='/);
    assert.doesNotMatch(await inventory.xml(guest.uuid, { inactive: true }, call), /<domain type='qemu' id='/);
    await waitFor("the agent", async () => (await inventory.read(guest.uuid, call)).guestAgentConnected || undefined, {
      timeoutMs,
    });
    const agent = await console.agent(guest.uuid, call);
    assert.equal(agent.hostname, "guest");
    assert(agent.interfaces.some((each) => each.addresses.some((one) => one.address === address)));
    assert.equal(agent.fileSystems[0]?.mountPoint, "/data");
    await serial.run("kill -STOP $(cat /run/qemu-ga.pid)");
    // A silent agent holds nobody up: the guest's own answer would never come.
    const withoutAgent = await inventory.addresses(guest.uuid, { agentConnected: true }, call);
    const again = await inventory.addresses(guest.uuid, { agentConnected: true }, call);
    for (const known of [withoutAgent, again]) {
      assert.deepEqual(known.find((each) => each.address === address)?.source, "lease");
    }
    await assert.rejects(console.agent(guest.uuid, call), hasCode("guest_agent_unavailable"));
    await serial.run("kill -CONT $(cat /run/qemu-ga.pid)");
    const png = await console.screenshot(guest.uuid, call);
    assert.equal(png.contentType, "image/png");
    assert.deepEqual([...png.bytes.subarray(0, 4)], [0x89, 0x50, 0x4e, 0x47]);
    await assert.rejects(console.vnc(guest.uuid, call), hasCode("unsupported"));
    const statistics = (await inventory.statistics([guest.uuid], call)).get(guest.uuid);
    assert(statistics !== undefined);
    assert.equal(statistics.state, "running");
    assert(statistics.cpuTimeNs > 0);
    assert.equal(statistics.vcpus.length, 2);
    assert.equal(statistics.memory.maxMiB, 192);
    assert((statistics.disks[0]?.readBytes ?? 0) > 1_000_000);
    assert.equal(statistics.nics.length, 1);
    await lifecycle.shutdown(guest.uuid, call);
    await waitFor(
      "the end of the guest",
      async () => (await inventory.read(guest.uuid, call)).state === "shutoff" || undefined,
      { timeoutMs },
    );
    assert.equal((await inventory.read(guest.uuid, call)).stateDetail, "shutdown");
    await assert.rejects(console.agent(guest.uuid, call), hasCode("invalid_state"));
    await assert.rejects(console.screenshot(guest.uuid, call), hasCode("invalid_state"));
    await assert.rejects(console.serial(guest.uuid, { force: false }, call), hasCode("invalid_state"));
    await lifecycle.undefine(guest.uuid, {}, call);
    await lifecycle.undefine(guest.uuid, {}, call);
    await assert.rejects(inventory.read(guest.uuid, call), hasCode("not_found"));
  });

  test("power operations move through the states, and are refused where they make no sense", async () => {
    const { inventory, lifecycle } = h1.guest;
    const { uuid } = await lifecycle.define(testDefinition("beta", { disks: [await guestDisk(lab, "beta")] }), call);
    const state = async () => (await inventory.read(uuid, call)).state;
    await lifecycle.start(uuid, { paused: true }, call);
    assert.equal(await state(), "paused");
    await assert.rejects(h1.guest.console.screenshot(uuid, call), hasCode("unsupported"));
    await lifecycle.resume(uuid, call);
    assert.equal(await state(), "running");
    await lifecycle.suspend(uuid, call);
    assert.equal(await state(), "paused");
    await lifecycle.resume(uuid, call);
    await using serial = new SerialConsole(await h1.guest.console.serial(uuid, { force: true }, call));
    await serial.expect(/INNKEEPER-GUEST READY/);
    await lifecycle.reset(uuid, call);
    await serial.expect(/INNKEEPER-GUEST READY/);
    await lifecycle.reboot(uuid, call);
    await serial.expect(/INNKEEPER-GUEST READY/);
    await lifecycle.forceOff(uuid, call);
    await lifecycle.forceOff(uuid, call);
    assert.equal(await state(), "shutoff");
    for (const refused of [lifecycle.shutdown, lifecycle.reset, lifecycle.suspend, lifecycle.resume]) {
      await assert.rejects(refused(uuid, call), hasCode("invalid_state"));
    }
    await lifecycle.undefine(uuid, {}, call);
  });

  test("definitions: name taken, replaced, renamed, from XML with new identity", async () => {
    const { inventory, lifecycle } = h1.guest;
    const definition = testDefinition("gamma", { nics: [labNic()], firmware: "uefi", tpm: true });
    const { uuid } = await lifecycle.define(definition, call);
    const other = { ...definition, uuid: crypto.randomUUID() };
    await assert.rejects(lifecycle.check(other, call), hasCode("name_taken"));
    await assert.rejects(lifecycle.define(other, call), hasCode("name_taken"));
    const metadata = testMetadata({
      vmId: definition.metadata.vmId,
      tags: ["a", "ü:b"],
      description: "two\nlines <&>",
    });
    const replaced = await lifecycle.define(
      { ...definition, metadata, spec: { ...definition.spec, cpu: { count: 2, maxCount: 4 }, autostart: true } },
      call,
    );
    assert.deepEqual(replaced.metadata, metadata);
    assert.equal(replaced.description, "two\nlines <&>");
    assert.equal(replaced.autostart, true);
    assert.equal(replaced.spec.cpu.maxCount, 4);
    await lifecycle.rename(uuid, "gamma 中文", call);
    await lifecycle.rename(uuid, "gamma 中文", call);
    assert.equal((await inventory.read(uuid, call)).name, "gamma 中文");
    const xml = await inventory.xml(uuid, { inactive: true }, call);
    const copyUuid = crypto.randomUUID();
    const copy = await lifecycle.defineXml(xml, { name: "gamma-copy", uuid: copyUuid, newMacs: true }, call);
    assert.equal(copy.uuid, copyUuid);
    assert.equal(copy.metadata, undefined);
    assert.notEqual(copy.spec.nics[0]?.mac, replaced.spec.nics[0]?.mac);
    assert.equal(copy.spec.firmware, "uefi");
    await assert.rejects(lifecycle.rename(copyUuid, "gamma 中文", call), hasCode("name_taken"));
    await assert.rejects(lifecycle.defineXml("<domain", {}, call), hasCode("host_failed"));
    await assert.rejects(lifecycle.defineXml("<network/>", {}, call), hasCode("invalid_field"));
    await lifecycle.undefine(uuid, {}, call);
    await lifecycle.undefine(copyUuid, {}, call);
  });

  test("UEFI variables go along when a guest is renamed or copied, and go with it", async () => {
    const { inventory, lifecycle } = h1.guest;
    const { uuid } = await lifecycle.define(testDefinition("uefi", { firmware: "uefi" }), call);
    await lifecycle.start(uuid, {}, call);
    await assert.rejects(lifecycle.rename(uuid, "uefi 2", call), hasCode("invalid_state"));
    await lifecycle.forceOff(uuid, call);
    const folder = "/var/lib/libvirt/qemu/nvram";
    const shell = async (command: string) => (await h1.host.exec(["sh", "-c", command], { signal })).stdout.trim();
    await shell(
      `printf mark | dd of=${folder}/uefi_VARS.fd bs=1 seek=500000 conv=notrunc; touch "${folder}/uefi 2_VARS.fd"`,
    );
    const sum = async (name: string) => (await shell(`sha256sum < "${folder}/${name}_VARS.fd"`)).slice(0, 64);
    const before = await sum("uefi");
    await lifecycle.rename(uuid, "uefi 2", call);
    assert.equal(await sum("uefi 2"), before);
    const xml = await inventory.xml(uuid, { inactive: true }, call);
    const copyUuid = crypto.randomUUID();
    await lifecycle.defineXml(xml, { name: "uefi-copy", uuid: copyUuid }, call);
    assert.equal(await sum("uefi-copy"), before);
    assert.equal(await shell(`ls ${folder} | sort | tr '\\n' ,`), "uefi 2_VARS.fd,uefi-copy_VARS.fd,");
    assert.doesNotMatch(await shell("virsh pool-list --all --name"), /^innkeeper-/m);
    // A VM whose definition names a file that is called after another.
    await shell(
      `virsh dumpxml uefi-copy --inactive | sed "s#<name>.*</name>#<name>holder</name>#; /<uuid>/d; /<nvram/d
         s#</os>#<nvram>${folder}/uefi-copy_VARS.fd</nvram></os>#" > /run/holder.xml
       virsh undefine uefi-copy --keep-nvram && virsh define /run/holder.xml`,
    );
    await assert.rejects(lifecycle.rename(uuid, "uefi-copy", call), hasCode("conflict"));
    await assert.rejects(
      lifecycle.defineXml(xml, { name: "uefi-copy", uuid: crypto.randomUUID() }, call),
      hasCode("conflict"),
    );
    assert.equal(await sum("uefi-copy"), before);
    // Forgetting it leaves the other's file, and one that is elsewhere.
    const sharer = await shell("virsh domuuid holder");
    assert.deepEqual(await lifecycle.undefine(sharer, { keepState: true }, call), [`${folder}/uefi-copy_VARS.fd`]);
    assert.equal(await sum("uefi-copy"), before);
    for (const [name, file] of [
      ["twin", `${folder}/uefi 2_VARS.fd`],
      ["elsewhere", "/run/elsewhere_VARS.fd"],
      // As libvirt writes it from 8.5 on.
      ["as-source", "/run/elsewhere_VARS.fd"],
    ] as const) {
      const nvram =
        name === "as-source" ? `<nvram type='file'><source file='${file}'/></nvram>` : `<nvram>${file}</nvram>`;
      await shell(`cp "${folder}/uefi 2_VARS.fd" /run/elsewhere_VARS.fd
        sed "s#<name>.*</name>#<name>${name}</name>#; s#<nvram>.*</nvram>#${nvram}#" /run/holder.xml > /run/${name}.xml
        virsh define /run/${name}.xml`);
      assert.deepEqual(await lifecycle.undefine(await shell(`virsh domuuid ${name}`), {}, call), [file]);
      assert.equal(await shell(`test -e "${file}" && echo there`), "there");
    }
    // What stayed is nobody's, and no copy takes it over.
    const again = { name: "uefi-copy", uuid: copyUuid };
    await assert.rejects(lifecycle.check({ xml, ...again }, call), hasCode("conflict"));
    await assert.rejects(lifecycle.defineXml(xml, again, call), hasCode("conflict"));
    assert.equal(await sum("uefi-copy"), before);
    await shell(`rm ${folder}/uefi-copy_VARS.fd`);
    await lifecycle.defineXml(xml, again, call);
    await lifecycle.start(copyUuid, { paused: true }, call);
    await lifecycle.forceOff(copyUuid, call);
    await lifecycle.undefine(copyUuid, {}, call);
    await lifecycle.undefine(uuid, {}, call);
    assert.equal(await shell(`ls ${folder}`), "");
  });

  test("a definition that can't work is refused with the field, and nothing is defined", async () => {
    const { inventory, lifecycle } = h1.guest;
    const refusals: readonly (readonly [Parameters<typeof testDefinition>[1], string])[] = [
      [{ cpu: { count: 1, model: "host-passthrough" } }, "cpu.model"],
      [{ cpu: { count: 1, model: "NoSuchCpu" } }, "cpu.model"],
      [{ cpu: { count: 5000 } }, "cpu.count"],
      [{ cpu: { count: 2, maxCount: 1 } }, "cpu.count"],
      [{ cpu: { count: 4, topology: { sockets: 1, cores: 3, threads: 1 } } }, "cpu.topology"],
      [{ cpu: { count: 1, pinning: [{ vcpu: 0, hostCpus: "4000" }] } }, "cpu.pinning"],
      [{ cpu: { count: 1, pinning: [{ vcpu: 3, hostCpus: "0" }] } }, "cpu.pinning"],
      [{ memory: { sizeMiB: 64, balloonMiB: 65 } }, "memory.balloonMiB"],
      [{ memory: { sizeMiB: 64, hugepageKiB: 12345 } }, "memory.hugepageKiB"],
      [{ memory: { sizeMiB: 64, numaCells: [{ cpus: "0", memoryMiB: 32 }] } }, "memory.numaCells"],
      [{ domainType: "lxc" }, "domainType"],
      [{ domainType: "kvm" }, "domainType"],
      [{ architecture: "s390x" }, "domainType"],
      [{ machine: "q36" }, "domainType"],
    ];
    for (const [spec, field] of refusals) {
      const definition = testDefinition("refused", spec);
      await assert.rejects(
        lifecycle.check(definition, call),
        (error: unknown) => error instanceof AppError && error.field === field,
        field,
      );
    }
    assert(!(await inventory.list(call)).some((guest) => guest.name === "refused"));
  });

  test("events tell what happens to guests, also by other hands", async () => {
    const { lifecycle, events } = h1.guest;
    const over = new AbortController();
    const seen: string[] = [];
    const collecting = (async () => {
      for await (const { name, type, detail } of events(over.signal)) seen.push(`${name} ${type} ${detail}`);
    })();
    const { uuid } = await lifecycle.define(testDefinition("delta"), call);
    await lifecycle.start(uuid, {}, call);
    await lifecycle.change(uuid, { metadata: testMetadata() }, call);
    await h1.host.exec(["virsh", "suspend", "delta"], { signal });
    await h1.host.exec(["virsh", "destroy", "delta"], { signal });
    await lifecycle.undefine(uuid, {}, call);
    await waitFor("the last event", async () => seen.includes("delta undefined removed") || undefined, { timeoutMs });
    for (const expected of ["defined added", "started booted", "suspended paused", "stopped destroyed"]) {
      assert(seen.includes(`delta ${expected}`), `${expected} in ${seen.join("; ")}`);
    }
    assert(seen.some((event) => event.startsWith("delta metadata-changed")));
    over.abort();
    await collecting;
  });

  test("a daemon that dies in mid-call is host_unreachable, and the next call works once it is back", async () => {
    const { inventory, lifecycle, events } = h1.guest;
    const { uuid } = await lifecycle.define(
      testDefinition("epsilon", { disks: [await guestDisk(lab, "epsilon")] }),
      call,
    );
    await lifecycle.start(uuid, {}, call);
    const watching = (async () => {
      for await (const _event of events(signal));
    })();
    const calls = Promise.allSettled([watching, ...Array.from({ length: 20 }, () => inventory.list(call))]);
    await h1.host.killLibvirtd(signal);
    const [watched, ...listed] = await calls;
    assert.equal(watched?.status === "rejected" && watched.reason.code, "host_unreachable");
    for (const outcome of listed) {
      if (outcome.status === "rejected") assert.equal(outcome.reason.code, "host_unreachable");
    }
    await h1.host.startLibvirtd(signal);
    await waitFor(
      "the guest after the daemon's restart",
      async () => (await inventory.read(uuid, call).catch(() => undefined))?.state === "running" || undefined,
      { timeoutMs },
    );
    await lifecycle.forceOff(uuid, call);
    await lifecycle.undefine(uuid, {}, call);
  });

  test("the test driver's guests are seen and handled as far as that driver can", async () => {
    await using testDriver = await labHypervisor(lab, 0, "test:///default");
    const { inventory, lifecycle, capability } = testDriver.guest;
    assert.deepEqual(capability, { snapshot: false, migration: false, console: false });
    const [present] = await inventory.list(call);
    assert.equal(present?.name, "test");
    assert.equal(present?.spec.domainType, "test");
    assert.deepEqual(await inventory.read(present.uuid, call), present);
    const definition = testDefinition("mine", { domainType: "test", nics: [labNic()] });
    await lifecycle.check(definition, call);
    const { uuid } = await lifecycle.define(definition, call);
    await lifecycle.start(uuid, {}, call);
    await lifecycle.suspend(uuid, call);
    await lifecycle.resume(uuid, call);
    assert.equal((await inventory.statistics([uuid], call)).get(uuid)?.state, "running");
    const { pending } = await lifecycle.change(uuid, { memory: { sizeMiB: 256 } }, call);
    assert.deepEqual(pending, ["memory.sizeMiB"]);
    await lifecycle.forceOff(uuid, call);
    await lifecycle.undefine(uuid, {}, call);
    await assert.rejects(inventory.read(uuid, call), hasCode("not_found"));
  });

  test("guests that virt-install made are seen as they are, changed gently, and transient ones too", async () => {
    const { inventory, lifecycle } = h1.guest;
    const options =
      "--name made --memory 128 --vcpus 1,maxvcpus=3 --virt-type qemu --osinfo generic --import --noautoconsole --noreboot";
    const devices =
      "--disk size=1,format=qcow2,bus=virtio --network default,model=e1000 --graphics vnc,password=secret --boot uefi";
    await h1.host.exec(
      ["sh", "-c", `virt-install ${options} ${devices} --print-xml > /run/made.xml && virsh define /run/made.xml`],
      { signal },
    );
    const made = (await inventory.list(call)).find((guest) => guest.name === "made");
    assert(made !== undefined);
    assert.equal(made.metadata, undefined);
    assert.deepEqual([made.spec.cpu.count, made.spec.cpu.maxCount, made.spec.firmware], [1, 3, "uefi"]);
    assert.equal(made.spec.nics[0]?.model, "e1000");
    await lifecycle.change(made.uuid, { memory: { sizeMiB: 160 } }, call);
    const { stdout } = await h1.host.exec(["virsh", "dumpxml", "--security-info", "--inactive", "made"], { signal });
    assert.match(stdout, /passwd='secret'/);
    assert.doesNotMatch(await inventory.xml(made.uuid, { inactive: true }, call), /secret/);
    await lifecycle.undefine(made.uuid, {}, call);
    const transient = "sed -e 's/<disk.*<\\/disk>//' /run/made.xml > /tmp/t.xml; virsh create --paused /tmp/t.xml";
    await h1.host.exec(["sh", "-c", transient], { signal });
    const brief = (await inventory.list(call)).find((guest) => guest.name === "made");
    assert.deepEqual([brief?.persistent, brief?.state], [false, "paused"]);
    const uuid = brief?.uuid ?? "";
    await assert.rejects(lifecycle.change(uuid, { memory: { sizeMiB: 170 } }, call), hasCode("unsupported"));
    const pin = await lifecycle.change(uuid, { cpu: { emulatorPinning: "0" } }, call);
    assert.deepEqual(pin, { applied: ["cpu.emulatorPinning"], pending: [] });
    await lifecycle.forceOff(uuid, call);
    assert(!(await inventory.list(call)).some((guest) => guest.uuid === uuid));
  });
});
