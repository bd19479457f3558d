/**
 * `inn vm edit`: the definition of a VM in an editor, as `virsh edit` has it, or from a file. What was refused is not
 * lost: it can be edited again, and stays in its file.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import type { Command } from "commander";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { VmEdit } from "@innkeeper/contract/resource/vm-document.ts";
import { CliError, errorText, usageError } from "#cli-error.ts";
import { pendingText } from "#command/vm-set.ts";
import type { Invocation } from "#invocation.ts";
import { find } from "#lookup.ts";
import { fileContent } from "#option/file.ts";
import { followTask } from "#task.ts";
import { ask } from "#terminal.ts";
import { addVerb, revisionOption, type Surroundings, taskOptions } from "#verb.ts";

export function addEdit(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "edit <vm>",
    summary: "Edit a VM's domain XML in $VISUAL or $EDITOR, for its next start.",
    operations: ["vmEdit"],
    options: (command) =>
      taskOptions(revisionOption(command.option("--file <xml>", "the edited XML, or `-` for standard input"))),
    details: `As virsh edit, but what reaches out of the guest (files, host devices, networks, arguments of QEMU)
can only be kept or taken away: disks, media and network cards are added with \`inn vm set\`. Console
passwords are not shown, and stay.`,
    examples: ["vm edit web", "vm edit web --file web.xml"],
    run: edit,
    fieldOption: (field) => (field === "domainXml" ? "--file" : field),
  });
}

async function edit(invocation: Invocation, name: string): Promise<void> {
  const { api, options, terminal } = invocation;
  const vm = await find(api, "vm", name);
  const file = options.text("file");
  if (file !== undefined) return await put(invocation, vm, { domainXml: await fileContent("--file", file, terminal) });
  if (!terminal.inputIsTerminal || !terminal.outputIsTerminal) {
    throw usageError("an editor needs a terminal", "Give the edited XML with --file, `-` for standard input.");
  }
  const { stream } = await api.download("vmXml", { parameters: { vmId: vm.id }, query: { inactive: true } });
  const before = await text(stream);
  const baseSha256 = createHash("sha256").update(before).digest("hex");
  const folder = await mkdtemp(path.join(tmpdir(), "inn-edit-"));
  const draft = path.join(folder, "domain.xml");
  await writeFile(draft, before, { mode: 0o600 });
  for (;;) {
    await openEditor(invocation, draft);
    const domainXml = await readFile(draft, "utf8");
    if (domainXml === before) {
      invocation.remark(`${vm.name} was not changed\n`);
      break;
    }
    const refusal = await put(invocation, vm, { domainXml, baseSha256 }).catch((error: unknown) => error);
    if (refusal === undefined) break;
    if (!(refusal instanceof CliError) || !(await wantsAgain(invocation, refusal))) {
      invocation.remark(`your edit is in ${draft}; try it again with \`inn vm edit ${vm.name} --file ${draft}\`\n`);
      throw refusal;
    }
  }
  await rm(folder, { recursive: true });
}

async function put(invocation: Invocation, vm: Vm, body: VmEdit): Promise<void> {
  const ifRevision = invocation.options.integer("ifRevision");
  const task = await invocation.api.call("vmEdit", { parameters: { vmId: vm.id }, body, ifRevision });
  await followTask(invocation, task, (ended) => `edited ${vm.name}${pendingText(ended)}`);
}

async function wantsAgain(invocation: Invocation, refusal: CliError): Promise<boolean> {
  invocation.remark(errorText(refusal));
  const answer = await ask(invocation.terminal, "Edit again? [Y/n] ", invocation.signal).catch(() => "n");
  return !/^n/i.test(answer.trim());
}

/** As git and virsh choose it. It may come with arguments (`code --wait`); a shell never sees them. */
async function openEditor({ environment }: Invocation, file: string): Promise<void> {
  const chosen = environment["VISUAL"] ?? environment["EDITOR"] ?? "vi";
  const [program = "vi", ...args] = chosen.split(/\s+/).filter((word) => word !== "");
  const child = spawn(program, [...args, file], { stdio: "inherit" });
  const [code] = (await once(child, "exit").catch((error: Error) => {
    throw usageError(`the editor ${program} can't be started: ${error.message}`, "Set EDITOR, or use --file.");
  })) as [number | null];
  if (code !== 0) throw usageError(`the editor ${program} ended with ${code ?? "a signal"}; nothing was changed`);
}
