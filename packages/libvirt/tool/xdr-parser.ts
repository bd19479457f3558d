// Parser of the XDR language, the whole grammar of RFC 4506 §6.3 and the two habits of rpcgen that libvirt relies on:
// "char" as a type (encoded as int, one unit of four bytes each) and a type name used without its "struct" keyword.
import { tokenize } from "./xdr-token.ts";
import type { Token } from "./xdr-token.ts";

export type Shape =
  | { readonly kind: "plain" }
  | { readonly kind: "optional" }
  | { readonly kind: "fixed"; readonly size: string }
  | { readonly kind: "variable"; readonly max: string | null };

export type TypeSpecifier =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "enum"; readonly members: readonly EnumMember[] }
  | { readonly kind: "struct"; readonly fields: readonly Declaration[] }
  | { readonly kind: "union"; readonly union: UnionBody };

export interface Declaration {
  readonly name: string;
  /** "void" has an empty name. Primitive names are normalized: "unsigned hyper" is "uhyper". */
  readonly type: TypeSpecifier;
  readonly shape: Shape;
}
export interface EnumMember {
  readonly name: string;
  readonly value: string | null;
  readonly comment: string;
}
export interface UnionBody {
  readonly discriminant: Declaration;
  readonly arms: readonly { readonly labels: readonly string[]; readonly body: Declaration }[];
  readonly fallback: Declaration | null;
}
export interface Specification {
  readonly constants: ReadonlyMap<string, string>;
  readonly enums: ReadonlyMap<string, readonly EnumMember[]>;
  readonly structs: ReadonlyMap<string, readonly Declaration[]>;
  readonly unions: ReadonlyMap<string, UnionBody>;
  readonly typedefs: ReadonlyMap<string, Declaration>;
}

const UNSIGNED = new Map([
  ["int", "uint"],
  ["hyper", "uhyper"],
  ["short", "ushort"],
  ["char", "uchar"],
  ["long", "uint"],
]);

export function parseXdr(source: string, file: string): Specification {
  return new XdrParser(tokenize(source, file), file).specification();
}

class XdrParser {
  readonly #tokens: readonly Token[];
  readonly #file: string;
  #position = 0;

  constructor(tokens: readonly Token[], file: string) {
    this.#tokens = tokens;
    this.#file = file;
  }

  specification(): Specification {
    const constants = new Map<string, string>();
    const enums = new Map<string, readonly EnumMember[]>();
    const structs = new Map<string, readonly Declaration[]>();
    const unions = new Map<string, UnionBody>();
    const typedefs = new Map<string, Declaration>();
    while (this.#peek().kind !== "end") {
      const keyword = this.#identifier();
      if (keyword === "typedef") {
        const declaration = this.#declaration();
        typedefs.set(declaration.name, declaration);
      } else {
        const name = this.#identifier();
        if (keyword === "const") {
          this.#symbol("=");
          constants.set(name, this.#value());
        } else if (keyword === "enum") enums.set(name, this.#enumBody());
        else if (keyword === "struct") structs.set(name, this.#structBody());
        else if (keyword === "union") unions.set(name, this.#unionBody());
        else throw this.#error(`unknown definition ${keyword}`);
      }
      this.#symbol(";");
    }
    return { constants, enums, structs, unions, typedefs };
  }

  #enumBody(): EnumMember[] {
    const members: EnumMember[] = [];
    this.#symbol("{");
    do {
      const { comment } = this.#peek();
      const name = this.#identifier();
      members.push({ name, value: this.#accept("=") ? this.#value() : null, comment });
    } while (this.#accept(","));
    this.#symbol("}");
    return members;
  }

  #structBody(): Declaration[] {
    const fields: Declaration[] = [];
    this.#symbol("{");
    do {
      fields.push(this.#declaration());
      this.#symbol(";");
    } while (!this.#accept("}"));
    return fields;
  }

  #unionBody(): UnionBody {
    this.#keyword("switch");
    this.#symbol("(");
    const discriminant = this.#declaration();
    this.#symbol(")");
    this.#symbol("{");
    const arms: { labels: string[]; body: Declaration }[] = [];
    let fallback: Declaration | null = null;
    while (!this.#accept("}")) {
      if (this.#acceptKeyword("default")) {
        this.#symbol(":");
        fallback = this.#declaration();
      } else {
        const labels: string[] = [];
        while (this.#acceptKeyword("case")) {
          labels.push(this.#value());
          this.#symbol(":");
        }
        arms.push({ labels, body: this.#declaration() });
      }
      this.#symbol(";");
    }
    return { discriminant, arms, fallback };
  }

  #declaration(): Declaration {
    const type = this.#typeSpecifier();
    if (type.kind === "name" && type.name === "void") return { name: "", type, shape: { kind: "plain" } };
    if (this.#accept("*")) return { name: this.#identifier(), type, shape: { kind: "optional" } };
    const name = this.#identifier();
    if (this.#accept("[")) {
      const size = this.#value();
      this.#symbol("]");
      return { name, type, shape: { kind: "fixed", size } };
    }
    if (this.#accept("<")) {
      const max = this.#peek().text === ">" ? null : this.#value();
      this.#symbol(">");
      return { name, type, shape: { kind: "variable", max } };
    }
    return { name, type, shape: { kind: "plain" } };
  }

  #typeSpecifier(): TypeSpecifier {
    const word = this.#identifier();
    if (word === "unsigned") {
      const unsigned = UNSIGNED.get(this.#peek().text);
      if (unsigned !== undefined) this.#position += 1;
      return { kind: "name", name: unsigned ?? "uint" };
    }
    if (word === "enum" && this.#peek().text === "{") return { kind: "enum", members: this.#enumBody() };
    if (word === "struct" && this.#peek().text === "{") return { kind: "struct", fields: this.#structBody() };
    if (word === "union" && this.#peek().text === "switch") return { kind: "union", union: this.#unionBody() };
    if (word === "struct" || word === "enum" || word === "union") return { kind: "name", name: this.#identifier() };
    return { kind: "name", name: word };
  }

  #peek(): Token {
    const token = this.#tokens[this.#position];
    if (token === undefined) throw this.#error("unexpected end");
    return token;
  }

  #next(): Token {
    const token = this.#peek();
    this.#position += 1;
    return token;
  }

  #identifier(): string {
    const token = this.#next();
    if (token.kind !== "identifier") throw this.#error(`expected a name, found "${token.text}"`, token);
    return token.text;
  }

  #value(): string {
    const token = this.#next();
    if (token.kind !== "identifier" && token.kind !== "number")
      throw this.#error(`expected a value, found "${token.text}"`, token);
    return token.text;
  }

  #symbol(text: string): void {
    const token = this.#next();
    if (token.text !== text) throw this.#error(`expected "${text}", found "${token.text}"`, token);
  }

  #keyword(text: string): void {
    if (!this.#acceptKeyword(text)) throw this.#error(`expected "${text}"`);
  }

  #accept(text: string): boolean {
    const token = this.#peek();
    if (token.kind !== "symbol" || token.text !== text) return false;
    this.#position += 1;
    return true;
  }

  #acceptKeyword(text: string): boolean {
    const token = this.#peek();
    if (token.kind !== "identifier" || token.text !== text) return false;
    this.#position += 1;
    return true;
  }

  #error(message: string, token: Token | undefined = this.#tokens[this.#position]): SyntaxError {
    return new SyntaxError(`${this.#file}:${token?.line ?? "end"}: ${message}`);
  }
}
