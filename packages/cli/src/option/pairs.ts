/** `key=value,key=value,flag` as virt-install and QEMU have it. Unknown keys are refused by name, never ignored; `,,` is a comma in a value. */
import { valueError } from "#cli-error.ts";

export class Pairs {
  readonly #option: string;
  readonly #values: ReadonlyMap<string, string>;

  /** `first` is the key of a leading value without one: `--disk 20G` is `--disk size=20G`. */
  constructor(option: string, text: string, keys: readonly string[], first: string) {
    this.#option = option;
    const values = new Map<string, string>();
    for (const [index, part] of splitCommas(text).entries()) {
      const at = part.indexOf("=");
      const isBare = at < 0;
      const word = isBare ? part.trim() : part.slice(0, at).trim();
      if (word === "") throw valueError(option, `"${text}" has an empty part`);
      const key = isBare && index === 0 && !keys.includes(word) ? first : word;
      const value = isBare ? (key === word ? "yes" : word) : part.slice(at + 1);
      if (!keys.includes(key)) throw valueError(option, `there is no "${key}" in it`, `There is ${keys.join(", ")}.`);
      if (values.has(key)) throw valueError(option, `"${key}" is given twice`);
      values.set(key, value);
    }
    this.#values = values;
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  text(key: string): string | undefined {
    const value = this.#values.get(key);
    if (value === "") throw this.error(key, "is empty");
    return value;
  }

  /** `key`, `key=yes|on|true`, `key=no|off|false`. */
  flag(key: string): boolean | undefined {
    const value = this.#values.get(key)?.toLowerCase();
    if (value === undefined) return undefined;
    if (["yes", "on", "true", "1"].includes(value)) return true;
    if (["no", "off", "false", "0"].includes(value)) return false;
    throw this.error(key, `is yes or no, not "${value}"`);
  }

  integer(key: string): number | undefined {
    const value = this.text(key);
    if (value === undefined) return undefined;
    if (!/^\d+$/.test(value)) throw this.error(key, `is a whole number, not "${value}"`);
    return Number(value);
  }

  oneOf<const T extends readonly string[]>(key: string, allowed: T): T[number] | undefined {
    const value = this.text(key);
    if (value === undefined || allowed.includes(value)) return value;
    throw this.error(key, `is one of ${allowed.join(", ")}, not "${value}"`);
  }

  error(key: string, what: string): Error {
    return valueError(this.#option, `${key} ${what}`);
  }
}

function splitCommas(text: string): string[] {
  const parts: string[] = [""];
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index] ?? "";
    if (character !== ",") parts.push(`${parts.pop() ?? ""}${character}`);
    else if (text[index + 1] === ",") {
      parts.push(`${parts.pop() ?? ""},`);
      index += 1;
    } else parts.push("");
  }
  return parts;
}
