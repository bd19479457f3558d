/** `inn virt-install` among the commands, for help; its words are its own, and are read in virt-install/run.ts. */
import type { Command } from "commander";
import { addVerb, type Surroundings } from "#verb.ts";

export function addVirtInstall(root: Command, surroundings: Surroundings): void {
  const command = addVerb(root, surroundings, {
    usage: "virt-install",
    summary: "Make and install a VM with virt-install's options: inn virt-install --help.",
    operations: [],
    examples: ["virt-install --name web --vcpus 2 --memory 4096 --disk size=20 --osinfo debian12 --cdrom debian.iso"],
    run: async () => {
      // The words after it never come this way.
    },
  });
  command.helpOption(false);
}
