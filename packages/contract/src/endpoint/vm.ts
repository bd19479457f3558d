/** Endpoints of VMs. */
import { Type } from "typebox";
import { strict } from "../resource/base.ts";
import { MetricQuery, MetricSeries } from "../resource/metric.ts";
import { VmMigrationCheck, VmMigrationReport } from "../resource/migration.ts";
import {
  Vm,
  VmChange,
  VmClone,
  VmCreate,
  VmGuest,
  VmMigrate,
  VmPowerOff,
  VmRename,
  VmStatistics,
} from "../resource/vm.ts";
import { VmEdit, VmPreview } from "../resource/vm-document.ts";
import { answersTask, endpoints, ListQuery, PageOf, TaskQuery } from "./endpoint.ts";

export const VmDeleteQuery = Type.Object(
  {
    ...TaskQuery.properties,
    deleteDisks: Type.Optional(Type.Boolean({ description: "its disks too; default false" })),
    force: Type.Optional(Type.Boolean({ description: "force it off first if it runs" })),
  },
  strict,
);

const power = { access: "vm.power", method: "POST", ...answersTask } as const;

export const vmEndpoint = endpoints({
  vmList: {
    method: "GET",
    path: "/vms",
    access: "vm.read",
    summary: "Lists VMs.",
    query: ListQuery,
    status: 200,
    response: PageOf(Vm),
  },
  vmGet: { method: "GET", path: "/vms/{vmId}", access: "vm.read", summary: "Shows a VM.", status: 200, response: Vm },
  vmXml: {
    method: "GET",
    path: "/vms/{vmId}/xml",
    access: "vm.read",
    summary: "The host's domain XML, without secrets.",
    query: Type.Object(
      { inactive: Type.Optional(Type.Boolean({ description: "the configuration of the next start" })) },
      strict,
    ),
    status: 200,
    responseType: "application/xml",
  },
  vmCreate: {
    method: "POST",
    path: "/vms",
    access: "vm.create",
    summary: "Creates a VM with new disks, from an image, or on volumes that exist.",
    body: VmCreate,
    ...answersTask,
  },
  vmPreview: {
    method: "POST",
    path: "/vms/preview",
    access: "vm.create",
    summary: "Says what vmCreate would make of a request, on which host and why; makes nothing.",
    body: VmCreate,
    status: 200,
    response: VmPreview,
  },
  vmChange: {
    method: "PATCH",
    path: "/vms/{vmId}",
    access: "vm.change",
    summary: "Changes a VM, live where possible; the task's result says what waits for the next start.",
    body: VmChange,
    ...answersTask,
  },
  vmEdit: {
    method: "PUT",
    path: "/vms/{vmId}/xml",
    access: "vm.change",
    summary: "Replaces a VM's definition by an edited one; a running VM follows at its next start.",
    body: VmEdit,
    ...answersTask,
  },
  vmRename: {
    method: "POST",
    path: "/vms/{vmId}/rename",
    access: "vm.change",
    summary: "Renames a stopped VM.",
    body: VmRename,
    ...answersTask,
  },
  vmDelete: {
    method: "DELETE",
    path: "/vms/{vmId}",
    access: "vm.delete",
    summary: "Deletes a VM, with its disks or without.",
    ...answersTask,
    query: VmDeleteQuery,
  },
  vmStart: { ...power, path: "/vms/{vmId}/start", summary: "Powers a VM on." },
  vmShutdown: {
    ...power,
    path: "/vms/{vmId}/shutdown",
    summary: "Asks the guest to shut down and waits until it has.",
    body: VmPowerOff,
  },
  vmForceOff: { ...power, path: "/vms/{vmId}/force-off", summary: "Cuts a VM's power." },
  vmReboot: { ...power, path: "/vms/{vmId}/reboot", summary: "Asks the guest to reboot." },
  vmReset: { ...power, path: "/vms/{vmId}/reset", summary: "Presses the reset button." },
  vmSuspend: { ...power, path: "/vms/{vmId}/suspend", summary: "Pauses a VM's CPUs; its memory stays on the host." },
  vmResume: { ...power, path: "/vms/{vmId}/resume", summary: "Lets a paused VM go on." },
  vmClone: {
    method: "POST",
    path: "/vms/{vmId}/clone",
    access: "vm.clone",
    summary: "Clones a VM, linked or in full.",
    body: VmClone,
    ...answersTask,
  },
  vmMigrate: {
    method: "POST",
    path: "/vms/{vmId}/migrate",
    access: "vm.migrate",
    summary: "Moves a VM to another host: live if it runs, cold if it does not.",
    body: VmMigrate,
    ...answersTask,
  },
  vmMigrationCheck: {
    method: "POST",
    path: "/vms/{vmId}/migration-check",
    access: "vm.migrate",
    summary:
      "Tells whether a VM can move to a host, or to which hosts, and what to do where it can't. Nothing is moved.",
    body: VmMigrationCheck,
    status: 200,
    response: VmMigrationReport,
  },
  vmScreenshot: {
    method: "GET",
    path: "/vms/{vmId}/screenshot",
    access: "vm.console",
    summary: "A picture of the VM's screen.",
    status: 200,
    responseType: "image/png",
  },
  vmGuest: {
    method: "GET",
    path: "/vms/{vmId}/guest",
    access: "vm.read",
    summary: "What the guest agent tells.",
    status: 200,
    response: VmGuest,
  },
  vmStatistics: {
    method: "GET",
    path: "/vms/{vmId}/statistics",
    access: "vm.read",
    summary: "Counters of CPU, memory, disks and network cards.",
    status: 200,
    response: VmStatistics,
  },
  vmMetrics: {
    method: "GET",
    path: "/vms/{vmId}/metrics",
    access: "vm.read",
    summary: "Shows metrics of a VM over time.",
    query: MetricQuery,
    status: 200,
    response: MetricSeries,
  },
  vmConsole: {
    method: "GET",
    path: "/vms/{vmId}/console",
    access: "vm.console",
    summary: "The console over WebSocket, in binary frames: the serial line, or raw VNC (RFB).",
    query: Type.Object(
      {
        type: Type.Optional(
          Type.Unsafe<"serial" | "vnc">({ type: "string", enum: ["serial", "vnc"], default: "serial" }),
        ),
        force: Type.Optional(Type.Boolean({ description: "disconnect whoever holds the serial console" })),
      },
      strict,
    ),
    status: 200,
    responseType: "websocket",
  },
});
