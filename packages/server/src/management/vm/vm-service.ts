/** What is asked of a VM's host at once, without a task: XML, guest agent, statistics, screen, console. */
import type { VmPreview } from "@innkeeper/contract/resource/vm-document.ts";
import type { VmMigrationCheck, VmMigrationReport } from "@innkeeper/contract/resource/migration.ts";
import type { Vm, VmCreate, VmGuest, VmStatistics } from "@innkeeper/contract/resource/vm.ts";
import { AppError } from "#core/app-error.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { Providers } from "#management/providers.ts";
import type { ServiceContext } from "#management/service-context.ts";
import type { ByteChannel } from "#core/byte-channel.ts";
import type { GuestHypervisor } from "#virtualization/port.ts";
import { requireState } from "./lookup.ts";
import { examineMigration } from "./migration-examination.ts";
import { plannedDefinitions } from "./vm-definition.ts";
import { planVm } from "./vm-plan.ts";

export class VmService {
  readonly #inventory: Inventory;
  readonly #providers: Providers;
  readonly #clock: Clock;

  constructor(deps: { readonly inventory: Inventory; readonly providers: Providers; readonly clock: Clock }) {
    this.#clock = deps.clock;
    this.#inventory = deps.inventory;
    this.#providers = deps.providers;
  }

  /** Domain XML without secrets. */
  async xml(vmId: string, options: { readonly inactive: boolean }, context: ServiceContext): Promise<string> {
    const { vm, guest } = this.#find(vmId);
    return guest.inventory.xml(vm.uuid, options, context);
  }

  /** What a request would become: checked as the operation checks it, on the host that it would go to. */
  async preview(request: VmCreate, context: ServiceContext): Promise<VmPreview> {
    const planned = planVm(this.#inventory, request);
    const plan = { ...planned, createdAt: timestamp(this.#clock) };
    const { hostId, hostName, reasons } = plan.placement;
    const { lifecycle } = this.#providers.get(hostId).guest;
    const [last, first] = plannedDefinitions(this.#inventory, plan, request);
    if (last === undefined) throw new TypeError("a plan without a definition");
    const domainXml = await lifecycle.render(last, context);
    const installXml = first === undefined ? undefined : await lifecycle.render(first, context);
    const host = this.#inventory.require("host", hostId);
    return {
      hostId: host.id,
      hostName,
      reasons: [...reasons],
      domainXml,
      ...(installXml !== undefined && { installXml }),
    };
  }

  /** Whether it could move to a host, or to which; nothing is moved. */
  migrationCheck(vmId: string, request: VmMigrationCheck, context: ServiceContext): Promise<VmMigrationReport> {
    return examineMigration({ inventory: this.#inventory, providers: this.#providers }, vmId, request, context);
  }

  async guest(vmId: string, context: ServiceContext): Promise<VmGuest> {
    const { vm, guest } = this.#find(vmId);
    requireState(vm, "guest", "asked through its guest agent");
    return guest.console.agent(vm.uuid, context);
  }

  async statistics(vmId: string, context: ServiceContext): Promise<VmStatistics> {
    const { vm, guest } = this.#find(vmId);
    const statistics = (await guest.inventory.statistics([vm.uuid], context)).get(vm.uuid);
    if (statistics !== undefined) return statistics;
    throw new AppError("not_found", `VM ${vm.name} is no longer on its host.`);
  }

  async screenshot(
    vmId: string,
    context: ServiceContext,
  ): Promise<{ readonly contentType: string; readonly bytes: Uint8Array }> {
    const { vm, guest } = this.#find(vmId);
    requireState(vm, "screenshot", "photographed");
    return guest.console.screenshot(vm.uuid, context);
  }

  /** The serial line or raw RFB; ends when the signal aborts or the guest stops. */
  async console(
    vmId: string,
    options: { readonly type: "serial" | "vnc"; readonly force: boolean },
    context: ServiceContext,
  ): Promise<ByteChannel> {
    const { vm, guest } = this.#find(vmId);
    if (!guest.capability.console) throw new AppError("unsupported", `The host of VM ${vm.name} offers no consoles.`);
    requireState(vm, "screenshot", "reached on its console");
    return options.type === "vnc"
      ? guest.console.vnc(vm.uuid, context)
      : guest.console.serial(vm.uuid, { force: options.force }, context);
  }

  #find(vmId: string): { vm: Vm; guest: GuestHypervisor } {
    const vm = this.#inventory.require("vm", vmId, { field: "vmId" });
    return { vm, guest: this.#providers.get(vm.hostId).guest };
  }
}
