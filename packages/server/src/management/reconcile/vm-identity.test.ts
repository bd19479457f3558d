import assert from "node:assert/strict";
import { test } from "node:test";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { VmState } from "@innkeeper/contract/state/vm.ts";
import type { GuestMetadata } from "#virtualization/port.ts";
import { duplicateAfterMs, identify, type Twin } from "./vm-identity.ts";

const uuid = "11111111-1111-4111-8111-111111111111";
const vm = { id: "vm-aaaaaaaaaaaa", uuid } as unknown as Vm;
const metadata = (vmId: string): GuestMetadata => ({ vmId }) as GuestMetadata;
const guest = (state: VmState, vmId?: string) => ({
  uuid,
  state,
  metadata: vmId === undefined ? undefined : metadata(vmId),
});

const ask = (vmId: string | undefined, ...taken: readonly string[]) =>
  identify({
    guest: guest("shutoff", vmId),
    twin: undefined,
    twinSinceMs: 0,
    isTaken: (id) => taken.includes(id),
  });

test("a guest that nobody knows gets the id in its metadata, else that of its UUID, unless that is taken or no id", () => {
  assert.deepEqual(ask(vm.id), { kind: "new", id: vm.id });
  const derived = ask(undefined);
  assert.ok(derived.kind === "new");
  assert.match(derived.id, /^vm-[0-9a-z]{12}$/);
  for (const answer of [ask(undefined), ask(vm.id, vm.id), ask("../../etc"), ask("host-aaaaaaaaaaaa")]) {
    assert.deepEqual(answer, derived, "always the same");
  }
  const last = ask(vm.id, vm.id, derived.id);
  assert.ok(last.kind === "new" && /^vm-[0-9a-z]{12}$/.test(last.id) && ![vm.id, derived.id].includes(last.id));
});

test("the same UUID on two hosts", () => {
  const rows: [what: string, here: VmState, there: Twin["there"], sinceMs: number, wanted: string][] = [
    ["it is there no longer", "shutoff", "absent", 0, "moved"],
    ["it runs here and is off there", "running", "shutoff", 0, "moved"],
    ["a migration has ended: paused there", "running", "paused", 0, "moved"],
    ["it runs here, there nobody can be asked", "running", "unknown", 0, "moved"],
    ["a migration begins: paused here", "paused", "running", 0, "undecided"],
    ["a long migration", "paused", "running", duplicateAfterMs * 100, "undecided"],
    ["off here, there nobody can be asked", "shutoff", "unknown", duplicateAfterMs * 100, "undecided"],
    ["an offline migration's moment", "shutoff", "shutoff", 0, "undecided"],
    ["a definition that stays on both", "shutoff", "shutoff", duplicateAfterMs, "new"],
    ["a copy of a running one", "shutoff", "running", duplicateAfterMs, "new"],
    ["both run, at first", "running", "running", 0, "undecided"],
    ["both run", "running", "running", duplicateAfterMs, "new"],
  ];
  for (const [what, here, there, twinSinceMs, wanted] of rows) {
    const twin: Twin = { vm, there };
    const answer = identify({ guest: guest(here, vm.id), twin, twinSinceMs, isTaken: (id) => id === vm.id });
    assert.equal(answer.kind, wanted, what);
    if (answer.kind !== "new") continue;
    assert.notEqual(answer.id, vm.id, what);
    assert.equal(answer.duplicateOf, vm, what);
  }
});
