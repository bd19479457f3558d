// Lexer of the XDR language (RFC 4506 §6.2, §6.3) for libvirt's *.x files. Comments are kept apart, attached to the
// token that follows, since libvirt writes its annotations (@generate, @readstream, @priority) in them. Lines that begin
// with '%' or '#' are for the C preprocessor and are dropped.

export interface Token {
  readonly kind: "identifier" | "number" | "symbol" | "end";
  readonly text: string;
  readonly line: number;
  /** Text of the last comment between the previous token and this one. */
  readonly comment: string;
}

const PATTERN =
  /\/\*([\s\S]*?)\*\/|^[ \t]*[%#].*$|([A-Za-z_]\w*)|(-?0[xX][0-9a-fA-F]+|-?\d+)|([{}()[\]<>*;:,=])|(\n|[ \t\r]+)|(.)/gmu;

export function tokenize(source: string, file: string): Token[] {
  const tokens: Token[] = [];
  let comment = "";
  let line = 1;
  const push = (kind: Token["kind"], text: string): void => {
    tokens.push({ kind, text, line, comment });
    comment = "";
  };
  for (const match of source.matchAll(PATTERN)) {
    const [whole, commentText, identifier, number, symbol, , unknown] = match;
    if (unknown !== undefined)
      throw new SyntaxError(`${file}:${line}: unexpected character ${JSON.stringify(unknown)}`);
    if (commentText !== undefined) comment = commentText;
    else if (identifier !== undefined) push("identifier", identifier);
    else if (number !== undefined) push("number", number);
    else if (symbol !== undefined) push("symbol", symbol);
    line += whole.split("\n").length - 1;
  }
  push("end", "");
  return tokens;
}
