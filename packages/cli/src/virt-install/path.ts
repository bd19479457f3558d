/**
 * The part of XPath that options of virt-install name places in a document with: `./a/b[2]/c[@name='x']/@d`. Reading
 * finds nothing where there is nothing; writing makes what is missing, as virt-install does (virtinst/xmlapi.py).
 */
import { valueError } from "#cli-error.ts";
import type { XmlElement } from "./element.ts";

interface Step {
  readonly name: string;
  /** From 1. */
  readonly position?: number;
  readonly attribute?: { readonly name: string; readonly value: string };
}
interface Path {
  readonly steps: readonly Step[];
  /** What the path ends in, if not in an element. */
  readonly attribute?: string;
}

const stepPattern = /^([A-Za-z_][\w.-]*)(?:\[(?:(\d+)|@([\w.-]+)=(?:'([^']*)'|"([^"]*)"))\])?$/;

/** `option` is named when the path is none that can be used. */
function parsePath(text: string, option: string): Path {
  const parts = splitPath(text.replace(/^\.?\//, ""));
  const last = parts.at(-1) ?? "";
  const attribute = /^@([\w.-]+)$/.exec(last)?.[1];
  const steps = (attribute === undefined ? parts : parts.slice(0, -1))
    .filter((part) => part !== ".")
    .map((part): Step => {
      const [, name, position, key, single, double] = stepPattern.exec(part) ?? [];
      if (name === undefined || position === "0") {
        throw valueError(
          option,
          `"${text}" is no path that can be used here.`,
          "Write it as ./devices/disk[2]/@device.",
        );
      }
      return {
        name,
        ...(position !== undefined && { position: Number(position) }),
        ...(key !== undefined && { attribute: { name: key, value: single ?? double ?? "" } }),
      };
    });
  return { steps, ...(attribute !== undefined && { attribute }) };
}

/** Slashes within quotes are the value's. */
function splitPath(text: string): string[] {
  return text.match(/(?:[^/'"]|'[^']*'|"[^"]*")+/g) ?? [];
}

function matching(parent: XmlElement, step: Step): XmlElement[] {
  const named = parent.all(step.name).filter((child) => {
    const { attribute } = step;
    return attribute === undefined || child.attributes.get(attribute.name) === attribute.value;
  });
  return step.position === undefined ? named : named.slice(step.position - 1, step.position);
}

function make(parent: XmlElement, step: Step): XmlElement {
  for (;;) {
    const [found] = matching(parent, step);
    if (found !== undefined) return found;
    parent.add(step.name, step.attribute === undefined ? {} : { [step.attribute.name]: step.attribute.value });
  }
}

/** Sets an attribute or text; without a value only makes the element. */
export function setPath(root: XmlElement, text: string, value: string | undefined, option: string): void {
  const path = parsePath(text, option);
  let element = root;
  for (const step of path.steps) element = make(element, step);
  if (path.attribute !== undefined) element.attributes.set(path.attribute, value ?? "");
  else if (value !== undefined) element.text = value;
}

/** Removes every element, or the attribute of every element, that the path names. */
export function deletePath(root: XmlElement, text: string, option: string): void {
  const path = parsePath(text, option);
  const steps = path.attribute === undefined ? path.steps.slice(0, -1) : path.steps;
  let parents = [root];
  for (const step of steps) parents = parents.flatMap((parent) => matching(parent, step));
  const last = path.steps.at(-1);
  for (const parent of parents) {
    if (path.attribute !== undefined) parent.attributes.delete(path.attribute);
    else if (last !== undefined) for (const child of matching(parent, last)) parent.remove(child);
  }
}
