// Definitions as clients send them: the text must be XML with the wanted root; what is not is refused in libvirt's words
// (libvirt 9.0 src/util/virxml.c virXMLParseHelper, virXMLPropEnum; src/util/virutil.c virScaleInteger).
import {
  VIR_ERR_INVALID_ARG,
  VIR_ERR_OVERFLOW,
  VIR_ERR_XML_DETAIL,
  VIR_ERR_XML_ERROR,
  VIR_FROM_NONE,
  VIR_FROM_XML,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import type { Element } from "./element.ts";
import { parse, XmlSyntaxError } from "./parse.ts";

/** @param title how libvirt calls the document in its errors, "(storage_pool_definition)" */
export function parseDocument(text: string, title: string, rootName: string): Element {
  const root = parseAny(text, title);
  if (root.name !== rootName) {
    const detail = `expecting root element of '${rootName}', not '${root.name}'`;
    throw new SimError(VIR_ERR_XML_ERROR, VIR_FROM_XML, detail);
  }
  return root;
}

/** @param title as in parseDocument() */
export function parseAny(text: string, title: string): Element {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof XmlSyntaxError)) throw error;
    const line = text.split("\n", 1)[0] ?? "";
    throw new SimError(VIR_ERR_XML_DETAIL, VIR_FROM_XML, `${title}:1: ${error.message}\n${line}\n^`);
  }
}

/** The attribute's value, one of a list. */
export function requiredEnum(root: Element, attribute: string, values: readonly string[]): string {
  const value = root.attributes.get(attribute);
  if (value === undefined) {
    const detail = `Missing required attribute '${attribute}' in element '${root.name}'`;
    throw new SimError(VIR_ERR_XML_ERROR, VIR_FROM_XML, detail);
  }
  if (!values.includes(value)) {
    const detail = `Invalid value for attribute '${attribute}' in element '${root.name}': '${value}'.`;
    throw new SimError(VIR_ERR_XML_ERROR, VIR_FROM_XML, detail);
  }
  return value;
}

const UUID = /^\s*[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\s*$/iu;

/** In the usual form; undefined when it is none. */
export function normalUuid(text: string): string | undefined {
  if (!UUID.test(text)) return undefined;
  const digits = text.trim().toLowerCase().replaceAll("-", "");
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join(
    "-",
  );
}

const SCALES: readonly string[] = ["", "k", "m", "g", "t", "p", "e"];

/** A number with libvirt's unit ("KiB", "KB", "G", "bytes") in bytes. */
export function scaled(value: bigint, unit: string | undefined): number {
  const name = (unit ?? "").toLowerCase();
  const match = /^(?:|b|bytes?|([kmgtpe])(ib|b)?)$/u.exec(name);
  if (match === null) throw new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_NONE, `unknown suffix '${unit ?? ""}'`);
  const power = BigInt(SCALES.indexOf(match[1] ?? ""));
  const bytes = value * (match[2] === "b" ? 1000n : 1024n) ** power;
  // What the sizes of files can't be: off_t, and here, what a number can't count.
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER))
    throw new SimError(VIR_ERR_OVERFLOW, VIR_FROM_NONE, `value too large: ${value}${unit ?? ""}`);
  return Number(bytes);
}
