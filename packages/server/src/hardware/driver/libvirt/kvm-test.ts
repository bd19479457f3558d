/**
 * Whether KVM really runs guests here: the device may exist and libvirt may offer it on machines where no guest gets to
 * the end of its first instructions. A transient guest without any disk runs the BIOS, which finds nothing to boot and,
 * with a reboot timeout of 0, resets at once; the reset ends the guest. So whoever ends so has executed real-mode and
 * protected-mode code, timer and interrupts. Nothing is left behind: the guest is bound to our connection (AUTODESTROY).
 * Facts: SeaBIOS 1.16 boot.c (boot_fail: resets after etc/boot-fail-wait); libvirt 9.0 <bios rebootTimeout>, on_reboot.
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

/** TCG, which emulates every instruction, needs 2 to 3 s on a slow machine; KVM well under 1 s. */
export const kvmTestDeadlineMs = 15_000;
const cleanupDeadlineMs = 10_000;

export interface KvmTestGuest {
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
  const name = `innkeeper-kvm-test-${crypto.randomUUID().slice(0, 8)}`;
  const startMs = performance.now();
  try {
    const ended = await runToEnd(connected, testGuestXml(name, guest, machine));
    const tookMs = Math.round(performance.now() - startMs);
    return ended === "clean"
      ? { advertised: true, usable: true, detail: `a test guest ran to its end in ${tookMs} ms` }
      : { advertised: true, usable: false, detail: `a test guest ${ended}` };
  } catch (error) {
    if (connected.options.signal.aborted || !connected.connection.isOpen) throw error;
    const words = error instanceof Error ? error.message : String(error);
    return { advertised: true, usable: false, detail: `a test guest could not be started: ${words}` };
  }
}

/** `clean`, or what happened instead, as the end of a sentence. */
async function runToEnd({ connection, options }: ConnectedCall, definition: string): Promise<string> {
  const deadline = AbortSignal.timeout(kvmTestDeadlineMs);
  const events = connection.events.domain("lifecycle", { signal: AbortSignal.any([options.signal, deadline]) });
  await events.ready;
  const { dom } = await connection.remote.domainCreateXml(
    { xmlDesc: definition, flags: VIR_DOMAIN_START_AUTODESTROY },
    options,
  );
  try {
    for await (const { dom: subject, event, detail } of events) {
      if (subject.uuid !== dom.uuid || event !== VIR_DOMAIN_EVENT_STOPPED) continue;
      if (detail === VIR_DOMAIN_EVENT_STOPPED_CRASHED || detail === VIR_DOMAIN_EVENT_STOPPED_FAILED) return "crashed";
      return "clean";
    }
    options.signal.throwIfAborted();
    return `did not get through its first instructions within ${kvmTestDeadlineMs / 1000} s`;
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
      xml("os", {}, xml("type", { arch: guest.architecture, machine }, "hvm"), xml("bios", { rebootTimeout: 0 })),
      xml("on_poweroff", {}, "destroy"),
      xml("on_reboot", {}, "destroy"),
      xml("on_crash", {}, "destroy"),
      xml("devices", {}, xml("controller", { type: "usb", model: "none" }), xml("memballoon", { model: "none" })),
    ),
  );
}
