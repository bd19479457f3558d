/** Life of a guest: defined, started, asked to stop, stopped. Idempotency is as the port says. */
import {
  VIR_DOMAIN_CONTROL_JOB,
  VIR_DOMAIN_CONTROL_OCCUPIED,
  VIR_DOMAIN_CONTROL_OK,
  VIR_DOMAIN_PMSUSPENDED,
  VIR_DOMAIN_START_PAUSED,
} from "@innkeeper/libvirt";
import { isLibvirtCode } from "#libvirt/error.ts";
import { longDeadlineMs, onConnection } from "#libvirt/session.ts";
import type { GuestLifecycle } from "#virtualization/port.ts";
import { changeGuest } from "./change/change.ts";
import { editGuest } from "./change/edit.ts";
import { checkDefinition, renderDefinition } from "./check.ts";
import { checkCopy, defineFromSpec, defineFromXml, renameGuest, undefineGuest } from "./definition.ts";
import { type DomainCall, type GuestDriverContext, onDomain } from "./driver-context.ts";

export function guestLifecycle(context: GuestDriverContext): GuestLifecycle {
  return { ...definitions(context), ...power(context) };
}

type Definitions = Pick<
  GuestLifecycle,
  "check" | "render" | "define" | "defineXml" | "edit" | "change" | "rename" | "undefine"
>;

function definitions(context: GuestDriverContext): Definitions {
  return {
    check: (definition, call) =>
      onConnection(context, call, `define VM ${definition.name}`, ({ connection, options }) =>
        "xml" in definition
          ? checkCopy(connection, definition, options)
          : checkDefinition(connection, definition, options),
      ),
    render: (definition, call) =>
      onConnection(context, call, `describe VM ${definition.name}`, async ({ connection, options }) => {
        const { xml } = await renderDefinition(connection, definition, options);
        return xml;
      }),
    define: (definition, call) =>
      onConnection(
        context,
        call,
        `define VM ${definition.name}`,
        ({ connection, options }) => defineFromSpec(connection, definition, options),
        longDeadlineMs,
      ),
    defineXml: (xml, edits, call, witness) =>
      onConnection(
        context,
        call,
        "define the VM",
        ({ connection, options }) => defineFromXml(connection, xml, edits, options, witness),
        longDeadlineMs,
      ),
    edit: (uuid, edit, call, witness) =>
      onDomain(context, uuid, call, "edit the VM", (domain) => editGuest(domain, edit, witness), longDeadlineMs),
    change: (uuid, change, call, witness) =>
      onDomain(
        context,
        uuid,
        call,
        "change the VM",
        (domain) => changeGuest(context, domain, change, witness),
        longDeadlineMs,
      ),
    // Firmware variables are copied, by one guest of the host after another.
    rename: (uuid, name, call) =>
      onDomain(context, uuid, call, `rename the VM to ${name}`, (domain) => renameGuest(domain, name), longDeadlineMs),
    undefine: (uuid, wanted, call) =>
      onDomain(context, uuid, call, "forget the VM", (domain) => undefineGuest(domain, wanted), longDeadlineMs),
  };
}

function power(context: GuestDriverContext): Omit<GuestLifecycle, keyof Definitions> {
  const long =
    (
      what: string,
      work: (domain: DomainCall) => Promise<unknown>,
    ): ((uuid: string, call: Parameters<GuestLifecycle["reset"]>[1]) => Promise<void>) =>
    async (uuid, call) =>
      void (await onDomain(context, uuid, call, what, work, longDeadlineMs));
  return {
    start: (uuid, { paused }, call) =>
      long("start the VM", ({ remote, dom, options }) =>
        remote.domainCreateWithFlags({ dom, flags: paused === true ? VIR_DOMAIN_START_PAUSED : 0 }, options),
      )(uuid, call),
    // Without flags QEMU's driver asks the agent if it is connected, else it presses the ACPI button.
    shutdown: long("shut the VM down", ({ remote, dom, options }) => remote.domainShutdownFlags({ dom }, options)),
    forceOff: long("power the VM off", (domain) => forceOff(context, domain)),
    reboot: long("reboot the VM", ({ remote, dom, options }) => remote.domainReboot({ dom }, options)),
    reset: long("reset the VM", ({ remote, dom, options }) => remote.domainReset({ dom }, options)),
    suspend: long("suspend the VM", ({ remote, dom, options }) => remote.domainSuspend({ dom }, options)),
    resume: long("resume the VM", resume),
  };
}

async function forceOff(context: GuestDriverContext, domain: DomainCall): Promise<void> {
  await untilControlled(context, domain);
  const { remote, dom, options } = domain;
  await remote.domainDestroyFlags({ dom }, options).catch(async (error: unknown) => {
    if (!isLibvirtCode(error, "VIR_ERR_OPERATION_INVALID")) throw error;
    const { active } = await remote.domainIsActive({ dom }, options);
    if (active === 1) throw error;
  });
}

const controlWaitMs = 5_000;
const controlPollMs = 100;

/**
 * A daemon that has just started takes up its guests one by one. libvirt 9.0 that is told to end one before it has done so
 * may hold its lock for ever: so this is waited for, a while. A guest that is otherwise busy is ended all the same.
 */
async function untilControlled(context: GuestDriverContext, { remote, dom, options }: DomainCall): Promise<void> {
  const endMs = context.clock.monotonicMs() + controlWaitMs;
  while (context.clock.monotonicMs() < endMs) {
    // One that is off has no control interface; drivers other than QEMU's lack the call.
    const { state } = await remote
      .domainGetControlInfo({ dom }, options)
      .catch(() => ({ state: VIR_DOMAIN_CONTROL_OK }));
    if (state !== VIR_DOMAIN_CONTROL_JOB && state !== VIR_DOMAIN_CONTROL_OCCUPIED) return;
    await context.clock.sleep(controlPollMs, options.signal);
  }
}

/** A guest that put itself to sleep is woken, one that was paused runs on. */
async function resume({ remote, dom, options }: DomainCall): Promise<void> {
  const { state } = await remote.domainGetState({ dom }, options);
  if (state === VIR_DOMAIN_PMSUSPENDED) await remote.domainPmWakeup({ dom }, options);
  else await remote.domainResume({ dom }, options);
}
