// Evaluates the integer expressions that libvirt's public headers use for constants ("1U << 31", "A | B", "(256 + 1)").
// Values are bigint while computing, so that no flag of bit 31 or 63 loses its sign.

const TOKEN = /\s*(?:(0[xX][0-9a-fA-F]+|\d+)[uUlL]*|([A-Za-z_]\w*)|(<<|>>|[-+*|&~()]))/uy;
const PRECEDENCE: Readonly<Record<string, number>> = { "|": 1, "&": 2, "<<": 3, ">>": 3, "+": 4, "-": 4, "*": 5 };

export type Lookup = (name: string) => bigint | undefined;

/** The value, or undefined when the text is not a constant integer expression (a macro body, a cast, an unknown name). */
export function evaluateC(text: string, lookup: Lookup): bigint | undefined {
  const tokens = lex(text, lookup);
  if (tokens === undefined || tokens.length === 0) return undefined;
  const state = { tokens, position: 0 };
  const value = binary(state, 1);
  return state.position === tokens.length ? value : undefined;
}

interface State {
  readonly tokens: readonly (bigint | string)[];
  position: number;
}

function lex(text: string, lookup: Lookup): (bigint | string)[] | undefined {
  const tokens: (bigint | string)[] = [];
  const source = text.trim();
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < source.length) {
    const match = TOKEN.exec(source);
    if (match === null) return undefined;
    const [, number, name, symbol] = match;
    const value = number !== undefined ? BigInt(number) : name !== undefined ? lookup(name) : symbol;
    if (value === undefined) return undefined;
    tokens.push(value);
  }
  return tokens;
}

function binary(state: State, minimum: number): bigint | undefined {
  let left = unary(state);
  for (;;) {
    const operator = state.tokens[state.position];
    const precedence = typeof operator === "string" ? PRECEDENCE[operator] : undefined;
    if (typeof operator !== "string" || precedence === undefined || precedence < minimum) return left;
    state.position += 1;
    const right = binary(state, precedence + 1);
    if (left === undefined || right === undefined) return undefined;
    left = apply(operator, left, right);
  }
}

function unary(state: State): bigint | undefined {
  const token = state.tokens[state.position];
  state.position += 1;
  if (typeof token === "bigint") return token;
  if (token === "(") {
    const value = binary(state, 1);
    const closed = state.tokens[state.position] === ")";
    state.position += 1;
    return closed ? value : undefined;
  }
  if (token !== "-" && token !== "~" && token !== "+") return undefined;
  const value = unary(state);
  if (value === undefined) return undefined;
  return token === "-" ? -value : token === "~" ? ~value : value;
}

function apply(operator: string, left: bigint, right: bigint): bigint | undefined {
  switch (operator) {
    case "|":
      return left | right;
    case "&":
      return left & right;
    case "<<":
      return left << right;
    case ">>":
      return left >> right;
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    default:
      return undefined;
  }
}
