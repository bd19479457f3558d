/**
 * Makes the VM of a virt-install command line, with its seed for cloud-init if it has one, and stays with it as long as the
 * command line says.
 */
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { VmCreate } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { Invocation } from "#invocation.ts";
import { requireSuccess, watchTask } from "#task.ts";
import type { Built } from "./build.ts";
import type { Seed } from "./cloud-init.ts";
import { followInstallation } from "./follow.ts";
import { inOptions } from "./request.ts";
import { seedIso } from "./seed-iso.ts";
import { deleteSeed, type SeedVolume, withSeed } from "./seed-volume.ts";
import { integer, refuse } from "./sub-option.ts";
import type { Words } from "./word.ts";

export interface Prepared {
  readonly built: Built;
  readonly request: VmCreate;
  readonly seed: Seed | undefined;
}

/** Resolves with the exit code. */
export async function install(
  invocation: Invocation,
  words: Words,
  { built, request, seed }: Prepared,
): Promise<number> {
  const isQuiet = words.has("--quiet");
  if (!isQuiet) invocation.print("\nStarting install...\n");
  if (seed?.generatedPassword !== undefined) {
    invocation.print(`Password for first root login is: ${seed.generatedPassword}\n`);
  }
  const wait = words.has("--wait") ? integer("--wait", "minutes", words.text("--wait") ?? "-1") : undefined;
  const { task, volume } = await inOptions(built.guest, async () => await create(invocation, built, request, seed));
  const vm = { id: String(task.result?.["vmId"]), name: request.name };
  const exitCode = await followInstallation(invocation, vm, {
    consoleType: consoleType(words, built, wait),
    waitMinutes: wait === 0 ? undefined : wait,
    isInstallation: built.installation.hasInstallPhase,
    restarts: built.installation.hasInstallPhase && !words.has("--noreboot"),
    endsWithConsole: words.has("--destroy-on-exit"),
    isQuiet,
  });
  if (volume !== undefined) await leaveSeed(invocation, vm.id, volume);
  return exitCode;
}

async function create(
  invocation: Invocation,
  { guest }: Built,
  request: VmCreate,
  seed: Seed | undefined,
): Promise<{ readonly task: Task; readonly volume?: SeedVolume }> {
  const make = async (body: VmCreate): Promise<Task> =>
    requireSuccess(await watchTask(invocation, await invocation.api.call("vmCreate", { body })));
  if (seed === undefined) return { task: await make(request) };
  const drive = guest.disks.find((disk) => disk.option === "--cloud-init")?.element.find("target");
  const target = drive?.attributes.get("dev") ?? "";
  const { volume, request: seeded } = await withSeed(invocation, request, { iso: seedIso(seed.files), target });
  try {
    return { task: await make(seeded), volume };
  } catch (error) {
    await deleteSeed(invocation, volume);
    throw error;
  }
}

/** The running guest holds its seed; once it is off, nothing does. */
async function leaveSeed(invocation: Invocation, vmId: string, volume: SeedVolume): Promise<void> {
  const vm = await invocation.api.call("vmGet", { parameters: { vmId } });
  if (!isActive(vm)) return await deleteSeed(invocation, volume);
  const remark = `The guest's seed is volume ${volume.name}; when the guest was off once: inn volume delete ${volume.name}`;
  invocation.remark(`${remark}\n`);
}

/** A text console by default where there is no screen; no viewer is started for a screen. */
function consoleType(words: Words, { guest }: Built, wait: number | undefined): "text" | "none" {
  const asked = words.has("--noautoconsole") || wait === 0 ? "none" : (words.text("--autoconsole") ?? "default");
  if (!["none", "default", "text", "graphical"].includes(asked)) {
    throw refuse("--autoconsole", `--autoconsole ${asked}: there are text, graphical and none.`);
  }
  if (asked === "graphical") {
    const remedy = "Look at the screen with inn vm screenshot, or say --autoconsole text.";
    throw refuse("--autoconsole", "--autoconsole graphical is not supported: no viewer is started.", remedy);
  }
  if (asked === "none" && words.has("--destroy-on-exit")) {
    throw refuse("--destroy-on-exit", "--destroy-on-exit needs a console that can be left.");
  }
  const isText = guest.all("graphics").length === 0 || words.has("--cloud-init");
  return asked === "text" || (asked === "default" && isText) ? "text" : "none";
}
