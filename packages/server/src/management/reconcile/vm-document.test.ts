import assert from "node:assert/strict";
import { test } from "node:test";
import { newId } from "@innkeeper/contract/id.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { Guest, UnchangedGuest } from "#virtualization/port.ts";
import { vmDocument } from "./vm-document.ts";

const guest: Guest = {
  uuid: crypto.randomUUID(),
  name: "web",
  state: "running",
  stateDetail: "booted",
  persistent: true,
  autostart: false,
  spec: {
    domainType: "kvm",
    architecture: "x86_64",
    cpu: { count: 2 },
    memory: { sizeMiB: 1024 },
    machine: "q35",
    firmware: "bios",
    disks: [],
    nics: [],
  },
  pendingChanges: ["memory.sizeMiB"],
  guestAgentConnected: true,
  metadata: undefined,
  description: "by hand",
  foreignSnapshotCount: 0,
  foreignSnapshots: [],
  hasSavedMemory: false,
  mark: "mark",
};
const place = { id: newId("vm"), hostId: newId("host"), at: "2026-01-01T00:00:00.000Z" };
const { spec: _1, pendingChanges: _2, guestAgentConnected: _3, metadata: _4, description: _5, ...rest } = guest;
const unchanged: UnchangedGuest = { ...rest, state: "paused", stateDetail: "user" };

test("of a guest whose documents are as they were, what they say is as it was", () => {
  const draft = vmDocument({ ...place, guest }, undefined);
  assert.ok(draft);
  assert.equal(draft.description, "by hand");
  const later = { ...place, at: "2026-01-02T00:00:00.000Z" };
  const previous = {
    ...draft,
    revision: 1,
    tags: ["prod"],
    folder: "a/b",
    addresses: [{ address: "10.0.0.1", source: "lease" }],
  } as const;
  const again = vmDocument(
    { ...later, guest: unchanged },
    { ...previous, tags: ["prod"], addresses: [...previous.addresses] },
  );
  assert.deepEqual(again, {
    ...draft,
    state: "paused",
    stateDetail: "user",
    tags: ["prod"],
    folder: "a/b",
    addresses: previous.addresses,
  });
});

test("without a document from before there is nothing to go by", () => {
  assert.equal(vmDocument({ ...place, guest: unchanged }, undefined), undefined);
});

test("its folder is as its host has it, and kept while its host has nothing of Innkeeper's", () => {
  const metadata = {
    vmId: place.id,
    description: "",
    tags: [],
    folder: "Production/Web",
    template: false,
    createdAt: place.at,
    snapshots: [],
    currentSnapshotId: null,
  };
  const draft = vmDocument({ ...place, guest: { ...guest, metadata } }, undefined);
  assert.equal(draft?.folder, "Production/Web");
  const previous = { ...draft, revision: 1 } as Vm;
  assert.equal(vmDocument({ ...place, guest }, previous)?.folder, "Production/Web");
  const without = vmDocument({ ...place, guest: { ...guest, metadata: { ...metadata, folder: "" } } }, previous);
  assert.ok(without && !("folder" in without));
});
