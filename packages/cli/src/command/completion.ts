/**
 * Shell completion. The shells call the hidden `inn __complete WORD…`, whose last word is the unfinished one; it answers with
 * candidates, one a line, a tab before their description. Names come from the server within a short deadline; what fails
 * completes nothing, and says nothing.
 */
import { Argument, type Command } from "commander";
import { usageError } from "#cli-error.ts";
import { completions } from "#completion.ts";
import { addVerb, type Surroundings } from "#verb.ts";

const scripts: Readonly<Record<string, string>> = {
  bash: `# inn completion bash > /etc/bash_completion.d/inn
_inn() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("$(printf '%q' "\${line%%$'\\t'*}")")
  done < <(inn __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _inn inn
`,
  zsh: `#compdef inn
# inn completion zsh > "\${fpath[1]}/_inn"
_inn() {
  local -a lines
  local line
  for line in "\${(@f)$(inn __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    [[ -n $line ]] && lines+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  (( \${#lines} )) && _describe inn lines || _files
}
(( $+functions[compdef] )) && compdef _inn inn
`,
  fish: `# inn completion fish > ~/.config/fish/completions/inn.fish
function __inn_complete
  set -l words (commandline -opc) (commandline -ct)
  inn __complete -- $words[2..-1] 2>/dev/null
end
complete -c inn -a '(__inn_complete)'
`,
};

export function addCompletion(root: Command, surroundings: Surroundings): void {
  addVerb(root, surroundings, {
    usage: "completion <shell>",
    summary: "Print the completion script of a shell: bash, zsh or fish.",
    operations: [],
    examples: ["completion bash > /etc/bash_completion.d/inn", "completion fish > ~/.config/fish/completions/inn.fish"],
    run: async (invocation, shell) => {
      const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined;
      if (script === undefined)
        throw usageError(`no completion for "${shell}"`, `There is ${Object.keys(scripts).join(", ")}.`);
      invocation.print(script);
    },
  });
  root
    .command("__complete", { hidden: true })
    .description("Candidates for the shells' completion.")
    .addArgument(new Argument("[words...]"))
    .allowUnknownOption()
    .helpOption(false)
    .action(async (words: readonly string[]) => {
      const found = await completions(root, surroundings, words);
      for (const { value, description } of found) {
        surroundings.terminal.output.write(description === undefined ? `${value}\n` : `${value}\t${description}\n`);
      }
    });
}
