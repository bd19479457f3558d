/** Endpoints of snapshots. */
import { Type } from "typebox";
import { strict } from "../resource/base.ts";
import { Snapshot, SnapshotCreate } from "../resource/snapshot.ts";
import { answersTask, endpoints, ListQuery, PageOf, TaskQuery } from "./endpoint.ts";

const SnapshotDeleteQuery = Type.Object(
  { ...TaskQuery.properties, children: Type.Optional(Type.Boolean({ description: "all snapshots below it too" })) },
  strict,
);

export const snapshotEndpoint = endpoints({
  snapshotList: {
    method: "GET",
    path: "/snapshots",
    access: "snapshot.read",
    summary: "Lists snapshots; `filter=vmId=…` for one VM's.",
    query: ListQuery,
    status: 200,
    response: PageOf(Snapshot),
  },
  snapshotGet: {
    method: "GET",
    path: "/snapshots/{snapshotId}",
    access: "snapshot.read",
    summary: "Shows a snapshot.",
    status: 200,
    response: Snapshot,
  },
  snapshotCreate: {
    method: "POST",
    path: "/vms/{vmId}/snapshots",
    access: "snapshot.create",
    summary: "Takes a snapshot of disks, or of disks and memory.",
    body: SnapshotCreate,
    ...answersTask,
  },
  snapshotRevert: {
    method: "POST",
    path: "/snapshots/{snapshotId}/revert",
    access: "snapshot.revert",
    summary: "Brings the VM back to a snapshot.",
    ...answersTask,
  },
  snapshotDelete: {
    method: "DELETE",
    path: "/snapshots/{snapshotId}",
    access: "snapshot.delete",
    summary: "Deletes a snapshot and merges its layer; the VM's state stays as it is.",
    ...answersTask,
    query: SnapshotDeleteQuery,
  },
});
