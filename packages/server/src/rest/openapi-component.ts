/** Schemas that have a name in the OpenAPI document; clients are generated with these names. */
import { Change, System } from "@innkeeper/contract/endpoint/system.ts";
import { Problem } from "@innkeeper/contract/problem.ts";
import { AuditEntry } from "@innkeeper/contract/resource/audit.ts";
import { Event } from "@innkeeper/contract/resource/event.ts";
import { Host, HostAdd, HostChange, HostHardware, HostUsage } from "@innkeeper/contract/resource/host.ts";
import { Image, ImageCreate } from "@innkeeper/contract/resource/image.ts";
import { Network, NetworkCreate } from "@innkeeper/contract/resource/network.ts";
import { Snapshot, SnapshotCreate } from "@innkeeper/contract/resource/snapshot.ts";
import { StoragePool, StoragePoolChange, StoragePoolCreate } from "@innkeeper/contract/resource/storage-pool.ts";
import { ResourceRef, Task, TaskProgress, TaskStep } from "@innkeeper/contract/resource/task.ts";
import {
  Login,
  PasswordChange,
  Session,
  Token,
  TokenCreate,
  TokenCreated,
  User,
  UserChange,
  UserCreate,
} from "@innkeeper/contract/resource/user.ts";
import {
  GuestAddress,
  Vm,
  VmChange,
  VmClone,
  VmCreate,
  VmGuest,
  VmMigrate,
  VmPowerOff,
  VmRename,
  VmStatistics,
} from "@innkeeper/contract/resource/vm.ts";
import { VmCpu, VmDisk, VmMemory, VmNic, VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { Volume, VolumeCreate, VolumeResize } from "@innkeeper/contract/resource/volume.ts";

export const component = {
  AuditEntry,
  Change,
  Event,
  GuestAddress,
  Host,
  HostAdd,
  HostChange,
  HostHardware,
  HostUsage,
  Image,
  ImageCreate,
  Login,
  Network,
  NetworkCreate,
  PasswordChange,
  Problem,
  ResourceRef,
  Session,
  Snapshot,
  SnapshotCreate,
  StoragePool,
  StoragePoolChange,
  StoragePoolCreate,
  System,
  Task,
  TaskProgress,
  TaskStep,
  Token,
  TokenCreate,
  TokenCreated,
  User,
  UserChange,
  UserCreate,
  Vm,
  VmChange,
  VmClone,
  VmCpu,
  VmCreate,
  VmDisk,
  VmGuest,
  VmMemory,
  VmMigrate,
  VmNic,
  VmPowerOff,
  VmRename,
  VmSpec,
  VmStatistics,
  Volume,
  VolumeCreate,
  VolumeResize,
};
