/**
 * PowerShell's wildcards: `*`, `?`, `[ab]`, `[a-c]`, a backtick before what is meant literally; without regard to case.
 * Facts: PowerShell's about_Wildcards.
 */
const special = /[*?[\]`]/;

export function hasWildcard(text: string): boolean {
  return /(^|[^`])(``)*[*?[]/.test(text);
}

/** The text without its backticks. */
export function unescaped(text: string): string {
  return text.replaceAll(/`(.)/gsu, "$1");
}

export class Wildcard {
  readonly #pattern: RegExp;
  /** The longest run of characters that every match has; may be empty. */
  readonly literal: string;

  constructor(text: string) {
    let pattern = "";
    const runs = [""];
    const literally = (character: string): void => {
      pattern += RegExp.escape(character);
      runs.push(`${runs.pop() ?? ""}${character}`);
    };
    const characters = [...text];
    for (let index = 0; index < characters.length; index += 1) {
      const character = characters[index] ?? "";
      const close = character === "[" ? characters.indexOf("]", index + 2) : -1;
      if (character === "`" && index + 1 < characters.length) literally(characters[(index += 1)] ?? "");
      else if (!special.test(character) || (character === "[" && close < 0) || character === "]") literally(character);
      else {
        runs.push("");
        if (character === "*") pattern += ".*";
        else if (character === "?") pattern += ".";
        else if (character === "[") {
          pattern += setPattern(characters.slice(index + 1, close));
          index = close;
        }
      }
    }
    this.#pattern = new RegExp(`^${pattern}$`, "isu");
    this.literal = runs.reduce((longest, run) => (run.length > longest.length ? run : longest), "");
  }

  matches(text: string): boolean {
    return this.#pattern.test(text);
  }
}

/** A character class; a hyphen between two of its characters is a range. */
function setPattern(members: readonly string[]): string {
  const parts = members.map((member, index) =>
    member === "-" && index > 0 && index < members.length - 1 ? "-" : RegExp.escape(member),
  );
  return `[${parts.join("")}]`;
}
