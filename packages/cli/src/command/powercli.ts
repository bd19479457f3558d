/** `inn powercli`: which of PowerCLI's cmdlets there are, and shell aliases that make them run without `inn` in front. */
import type { Command } from "commander";
import { pairText } from "#output/table.ts";
import { cmdletNames, cmdlets } from "#powercli/table.ts";
import { addVerb, type Surroundings } from "#verb.ts";

export function addPowerCli(root: Command, surroundings: Surroundings): void {
  addVerb(root, surroundings, {
    usage: "powercli",
    summary: "List the cmdlets of PowerCLI that run as `inn Get-VM …`.",
    operations: [],
    options: (command) =>
      command.option("--aliases", "print aliases for bash, zsh and fish, so that they run without `inn`"),
    examples: ["powercli", "powercli --aliases >> ~/.bash_aliases"],
    details: "Each explains itself: inn Get-VM -?. How they differ from PowerCLI's: docs/powercli.md.",
    run: async (invocation) => {
      if (invocation.options.flag("aliases") === true) {
        invocation.print(
          cmdletNames.flatMap((name) => [aliasLine(name, name), aliasLine(name.toLowerCase(), name)]).join(""),
        );
        return;
      }
      const all = await Promise.all(Object.values(cmdlets).map(async (load) => await load()));
      const list = all.map(({ name, summary }) => ({ name, summary }));
      await invocation.show(list, () => pairText(list.map(({ name, summary }) => [name, summary])));
    },
  });
}

/** These shells tell capitals from small letters. */
function aliasLine(alias: string, name: string): string {
  return `alias ${alias}='inn ${name}'\n`;
}
