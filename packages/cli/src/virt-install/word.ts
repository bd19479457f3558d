/**
 * The words of a virt-install command line, taken apart as argparse does it: long options may be shortened as long as
 * they are clear, `-n x`, `-nx`, `--name x`, `--name=x`. Facts: virt-install 4.1 (virtinst/virtinstall.py parse_args).
 */
import { nearest } from "./near-miss.ts";
import { deviceOptions } from "./option/device.ts";
import { domainOptions } from "./option/domain.ts";
import { refusalReason } from "./refusal.ts";
import { refuse } from "./sub-option.ts";

type Arity = "none" | "one" | "optional";

/** Options without sub-options, by how many words they take. */
const plain: Readonly<Record<string, Arity>> = {
  "--name": "one",
  "--ram": "one",
  "--uuid": "one",
  "--description": "one",
  "--cdrom": "one",
  "--import": "none",
  "--pxe": "none",
  "--livecd": "none",
  "--install": "one",
  "--cloud-init": "optional",
  "--os-variant": "one",
  "--os-type": "one",
  "--file": "one",
  "--file-size": "one",
  "--nonsparse": "none",
  "--nodisks": "none",
  "--nonetworks": "none",
  "--bridge": "one",
  "--mac": "one",
  "--vnc": "none",
  "--vncport": "one",
  "--vnclisten": "one",
  "--keymap": "one",
  "--nographics": "none",
  "--cpuset": "one",
  "--hvm": "none",
  "--virt-type": "one",
  "--arch": "one",
  "--machine": "one",
  "--accelerate": "none",
  "--noapic": "none",
  "--noacpi": "none",
  "--check-cpu": "none",
  "--autostart": "none",
  "--destroy-on-exit": "none",
  "--wait": "optional",
  "--autoconsole": "one",
  "--noautoconsole": "none",
  "--noreboot": "none",
  "--print-xml": "optional",
  "--print-step": "one",
  "--dry-run": "none",
  "--check": "one",
  "--force": "none",
  "--prompt": "none",
  "--quiet": "none",
  "--debug": "none",
  "--connect": "one",
  "--xml": "one",
  "--version": "none",
  "--help": "none",
  // Innkeeper's own.
  "--host": "one",
  "--tag": "one",
  "--server": "one",
  "--timeout": "one",
};

/** Options that are refused whatever their value, by the reason's name. */
const refused: Readonly<Record<string, readonly [Arity, string]>> = {
  "--location": ["one", "!kernel"],
  "--extra-args": ["one", "!kernel"],
  "--initrd-inject": ["one", "!kernel"],
  "--unattended": ["optional", "!unattended"],
  "--reinstall": ["one", "!reinstall"],
  "--init": ["one", "!container"],
  "--sdl": ["none", "!display"],
  "--paravirt": ["none", "!paravirt"],
  "--container": ["none", "!container"],
  "--transient": ["none", "!transient"],
  "--test-media-detection": ["one", "!test"],
  "--test-stub-command": ["none", "!test"],
};

const aliases: Readonly<Record<string, string>> = {
  "-n": "--name",
  "-r": "--ram",
  "-u": "--uuid",
  "-c": "--cdrom",
  "-l": "--location",
  "-x": "--extra-args",
  "-f": "--file",
  "-s": "--file-size",
  "-w": "--network",
  "-b": "--bridge",
  "-m": "--mac",
  "-k": "--keymap",
  "-v": "--hvm",
  "-p": "--paravirt",
  "-q": "--quiet",
  "-d": "--debug",
  "-h": "--help",
  "--osinfo": "--os-variant",
  "--host-device": "--hostdev",
  "--soundhw": "--sound",
  "--security": "--seclabel",
  "--launchsecurity": "--launchSecurity",
};

/** `--sound` once took no value. */
const complexArity = (option: string): Arity => (option === "--sound" ? "optional" : "one");

export const optionNames: readonly string[] = [
  ...Object.keys(plain),
  ...Object.keys(refused),
  ...Object.keys(deviceOptions),
  ...Object.keys(domainOptions),
  ...Object.keys(aliases),
];

/** Values by long option, in order; undefined where an option was given without. */
export class Words {
  readonly #values = new Map<string, (string | undefined)[]>();

  add(option: string, value: string | undefined): void {
    const values = this.#values.get(option);
    if (values === undefined) this.#values.set(option, [value]);
    else values.push(value);
  }

  has(option: string): boolean {
    return this.#values.has(option);
  }

  all(option: string): readonly (string | undefined)[] {
    return this.#values.get(option) ?? [];
  }

  texts(option: string): string[] {
    return this.all(option).filter((value) => value !== undefined);
  }

  /** The last one wins, as in argparse. */
  text(option: string): string | undefined {
    return this.texts(option).at(-1);
  }

  options(): string[] {
    return [...this.#values.keys()];
  }
}

export function parseWords(argv: readonly string[]): Words {
  const words = new Words();
  const rest = [...argv];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (!word.startsWith("-") || word === "-" || word === "--") throw positional(word);
    const { option, attached, flags } = take(word);
    const arity = arityOf(option);
    if (flags !== undefined) rest.unshift(flags);
    words.add(option, valueOf(option, arity, attached, rest));
    const reason = refused[option];
    if (reason !== undefined) throw refuse(option, `${option} is not supported: ${refusalReason(reason[1])}`);
  }
  return words;
}

interface Taken {
  readonly option: string;
  readonly attached?: string;
  /** What remains of joined short options. */
  readonly flags?: string;
}

function take(word: string): Taken {
  if (word.startsWith("--")) {
    const equals = word.indexOf("=");
    const option = longOption(equals < 0 ? word : word.slice(0, equals));
    return equals < 0 ? { option } : { option, attached: word.slice(equals + 1) };
  }
  const short = word.slice(0, 2);
  const option = aliases[short];
  if (option === undefined) throw unknownOption(word);
  const tail = word.slice(2);
  if (tail === "") return { option };
  if (arityOf(option) === "none") return { option, flags: `-${tail}` };
  return { option, attached: tail.replace(/^=/, "") };
}

function longOption(typed: string): string {
  if (optionNames.includes(typed)) return aliases[typed] ?? typed;
  const longer = optionNames.filter((name) => name.startsWith(typed) && typed.length > 2);
  const meant = [...new Set(longer.map((name) => aliases[name] ?? name))];
  const [only, second] = meant;
  if (only === undefined) throw unknownOption(typed);
  if (second !== undefined) throw refuse(typed, `${typed} could be ${longer.join(" or ")}.`);
  return only;
}

function unknownOption(typed: string): Error {
  const close = nearest(typed, optionNames);
  const message = `virt-install has no option ${typed}.`;
  return refuse(typed, message, close === undefined ? "See inn virt-install --help." : `Did you mean ${close}?`);
}

function positional(word: string): Error {
  return refuse(word, `"${word}" belongs to no option.`, "Every value follows an option: --name NAME.");
}

function arityOf(option: string): Arity {
  return plain[option] ?? refused[option]?.[0] ?? complexArity(option);
}

function valueOf(option: string, arity: Arity, attached: string | undefined, rest: string[]): string | undefined {
  if (arity === "none") {
    if (attached !== undefined) throw refuse(option, `${option} takes no value.`);
    return undefined;
  }
  if (attached !== undefined) return attached;
  const next = rest[0];
  const isValue = next !== undefined && (!next.startsWith("-") || /^-\d+$/.test(next) || next === "-");
  if (isValue) return rest.shift();
  if (arity === "optional") return undefined;
  throw refuse(option, `${option} needs a value.`);
}
