/**
 * Whether KVM really runs guests here: the device may exist and libvirt may offer it on machines where guests hang, crash,
 * or crawl. A transient guest without any disk runs the BIOS, which finds nothing to boot, waits a second by its timer
 * and resets; the reset ends the guest. Who ends so, not sooner and not much later, has executed real-mode and
 * protected-mode code, timer and interrupts. One that needs long is compared with the same guest under plain emulation:
 * a KVM that is slower than that is none. Nothing is left behind: the guest is bound to our connection (AUTODESTROY).
 * Facts: SeaBIOS 1.16 boot.c (boot_fail: resets after etc/boot-fail-wait); libvirt 9.0 <bios rebootTimeout>, on_reboot;
 * a triple fault also ends as a reset (QEMU accel/kvm/kvm-all.c KVM_EXIT_SHUTDOWN), but at once.
 */
import {
  VIR_DOMAIN_EVENT_STOPPED,
  VIR_DOMAIN_EVENT_STOPPED_CRASHED,
  VIR_DOMAIN_EVENT_STOPPED_FAILED,
  VIR_DOMAIN_START_AUTODESTROY,
} from "@innkeeper/libvirt";
import type { HostHardware } from "@innkeeper/contract/resource/host.ts";
import { isNotFound } from "#libvirt/error.ts";
import type { ConnectedCall } from "#libvirt/session.ts";
import { formatXml, xml } from "#libvirt/xml.ts";

type KvmStatus = HostHardware["kvm"];

const kvmTestDeadlineMs = 20_000;
/** How long the BIOS waits before it resets, by its own timer; an end before it has another cause. */
const biosWaitMs = 1_000;
const earliestEndMs = 800;
/** With KVM the BIOS is through in well under 1 s; plain emulation takes about as long. */
const suspiciousMs = 2_500;
const cleanupDeadlineMs = 10_000;

interface KvmTestGuest {
  /** `qemu` proves the test itself where there is no KVM. */
  readonly domainType: "kvm" | "qemu";
  readonly architecture: string;
  readonly machineTypes: readonly string[];
}

export async function runKvmTest(connected: ConnectedCall, guest: KvmTestGuest): Promise<KvmStatus> {
  const machine = ["pc", "q35"].find((name) => guest.machineTypes.includes(name));
  if (!["x86_64", "i686"].includes(guest.architecture) || machine === undefined) {
    return { advertised: true, usable: null, detail: `not tested: there is no test guest for ${guest.architecture}` };
  }
  try {
    const end = await runToEnd(connected, guest, machine);
    if (end.what !== "clean") return { advertised: true, usable: false, detail: `a test guest ${end.what}` };
    const biosMs = Math.max(0, end.tookMs - biosWaitMs);
    if (guest.domainType === "kvm" && biosMs > suspiciousMs) return await compare(connected, guest, machine, biosMs);
    return { advertised: true, usable: true, detail: `a test guest ran to its end in ${biosMs} ms` };
  } catch (error) {
    if (connected.options.signal.aborted || !connected.connection.isOpen) throw error;
    const words = error instanceof Error ? error.message : String(error);
    return { advertised: true, usable: false, detail: `a test guest could not be started: ${words}` };
  }
}

async function compare(
  connected: ConnectedCall,
  guest: KvmTestGuest,
  machine: string,
  kvmMs: number,
): Promise<KvmStatus> {
  const emulated = await runToEnd(connected, { ...guest, domainType: "qemu" }, machine);
  const emulatedMs = Math.max(0, emulated.tookMs - biosWaitMs);
  const usable = emulated.what !== "clean" || emulatedMs >= kvmMs;
  const times = `a test guest needed ${kvmMs} ms with KVM and ${emulatedMs} ms with plain emulation`;
  return {
    advertised: true,
    usable,
    detail: usable ? `${times}: the host is busy` : `${times}: KVM is of no use here`,
  };
}

/** `what`: `clean`, or what happened instead, as the end of a sentence. */
interface End {
  readonly what: string;
  readonly tookMs: number;
}

async function runToEnd({ connection, options }: ConnectedCall, guest: KvmTestGuest, machine: string): Promise<End> {
  const deadline = AbortSignal.timeout(kvmTestDeadlineMs);
  const events = connection.events.domain("lifecycle", { signal: AbortSignal.any([options.signal, deadline]) });
  await events.ready;
  const xmlDesc = testGuestXml(`innkeeper-kvm-test-${crypto.randomUUID().slice(0, 8)}`, guest, machine);
  const { dom } = await connection.remote.domainCreateXml({ xmlDesc, flags: VIR_DOMAIN_START_AUTODESTROY }, options);
  const startMs = performance.now();
  try {
    for await (const { dom: subject, event, detail } of events) {
      if (subject.uuid !== dom.uuid || event !== VIR_DOMAIN_EVENT_STOPPED) continue;
      const tookMs = Math.round(performance.now() - startMs);
      const isCrash = detail === VIR_DOMAIN_EVENT_STOPPED_CRASHED || detail === VIR_DOMAIN_EVENT_STOPPED_FAILED;
      if (isCrash) return { what: "crashed", tookMs };
      if (tookMs < earliestEndMs)
        return { what: `was reset after ${tookMs} ms, before its BIOS could be through`, tookMs };
      return { what: "clean", tookMs };
    }
    options.signal.throwIfAborted();
    const what = `did not get through its first instructions within ${kvmTestDeadlineMs / 1000} s`;
    return { what, tookMs: kvmTestDeadlineMs };
  } finally {
    await connection.remote.domainDestroy({ dom }, { timeoutMs: cleanupDeadlineMs }).catch((error: unknown) => {
      // Gone by itself, or with the connection.
      if (!isNotFound(error) && connection.isOpen) throw error;
    });
  }
}

function testGuestXml(name: string, guest: KvmTestGuest, machine: string): string {
  return formatXml(
    xml(
      "domain",
      { type: guest.domainType },
      xml("name", {}, name),
      xml("memory", { unit: "MiB" }, "16"),
      xml("vcpu", {}, "1"),
      xml(
        "os",
        {},
        xml("type", { arch: guest.architecture, machine }, "hvm"),
        xml("bios", { rebootTimeout: biosWaitMs }),
      ),
      xml("on_poweroff", {}, "destroy"),
      xml("on_reboot", {}, "destroy"),
      xml("on_crash", {}, "destroy"),
      xml("devices", {}, xml("controller", { type: "usb", model: "none" }), xml("memballoon", { model: "none" })),
    ),
  );
}
