/**
 * The words of a cmdlet's command line by PowerShell's rules: a parameter begins with a dash (a typographic one too), its
 * value follows or stands after a colon, `a,b` is a list, a backtick takes a character literally.
 * What the shell before us did to the words is known and mended where it is certain: bash makes `-Confirm:$false` to
 * `-Confirm:`, PowerShell itself to `-Confirm:` and `False`.
 * Facts: PowerShell's about_Parsing, about_Quoting_Rules.
 */

// PowerShell's tokenizer takes EN DASH, EM DASH and HORIZONTAL BAR for a hyphen (CharTraits.cs, IsDash).
const parameterPattern = /^[-\u2013\u2014\u2015]([\p{L}?][^:]*)(:(.*))?$/su;

interface ParameterWord {
  readonly name: string;
  /** What stands after the colon; undefined: there is none. */
  readonly value: string | undefined;
}

/** undefined: a value. */
export function parameterWord(word: string): ParameterWord | undefined {
  const match = parameterPattern.exec(word);
  return match === null ? undefined : { name: match[1] ?? "", value: match[2] === undefined ? undefined : match[3] };
}

/** `$true`, `$false`, and the same without the dollar sign. */
export function booleanOf(word: string): boolean | undefined {
  const text = word.toLowerCase().replace(/^\$/, "");
  if (text === "true" || text === "1") return true;
  if (text === "false" || text === "0") return false;
  return undefined;
}

/** The items of `a,b`; backticks stay for the wildcards behind it, except before a comma. */
export function listItems(text: string): string[] {
  const items = [""];
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index] ?? "";
    const last = items.length - 1;
    if (character === "`" && index + 1 < text.length) {
      const next = text[(index += 1)] ?? "";
      items[last] += next === "," ? "," : `\`${next}`;
    } else if (character === ",") items.push("");
    else items[last] += character;
  }
  return items.map((item) => item.trim()).filter((item) => item !== "");
}

/** The words of a cmdlet, one after the other. */
export class Words {
  readonly #words: readonly string[];
  #position = 0;

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  get next(): string | undefined {
    return this.#words[this.#position];
  }

  take(): string | undefined {
    const word = this.next;
    this.#position += 1;
    return word;
  }

  takeAll(): string[] {
    const rest = this.#words.slice(this.#position);
    this.#position = this.#words.length;
    return rest;
  }

  /** The rest of a list that was written with spaces: `a, b`, `a ,b`. */
  restOfList(first: string): string {
    let text = first;
    while (this.next !== undefined && continues(text, this.next)) text += this.take() ?? "";
    return text;
  }
}

function continues(list: string, word: string): boolean {
  return parameterWord(word) === undefined && (/(^|[^`]),$/.test(list) || word.startsWith(","));
}
