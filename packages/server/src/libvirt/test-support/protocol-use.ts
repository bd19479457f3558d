/** What the drivers use of libvirt's protocol, read from their sources, so that nothing new escapes the tests. */
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { programs } from "@innkeeper/libvirt/rpc/protocol.ts";

interface ProtocolUse {
  /** Names of procedures of all programs; those that carry streams are among them. */
  readonly procedures: ReadonlySet<string>;
  /** `domain.lifecycle` … */
  readonly events: ReadonlySet<string>;
  /** `VIR_DOMAIN_XML_SECURE` … */
  readonly constants: ReadonlySet<string>;
}

const sourceFolder = path.resolve(import.meta.dirname, "../..");

/** Every `.name(` and `"name"` that is a procedure's: a few too many rather than one too few. */
export function protocolUse(): ProtocolUse {
  const procedures = new Set<string>();
  const events = new Set<string>();
  const constants = new Set<string>();
  for (const file of globSync("{libvirt,*/driver/libvirt}/**/*.ts", { cwd: sourceFolder })) {
    if (file.endsWith(".test.ts") || file.includes("/test-support/")) continue;
    const text = readFileSync(path.join(sourceFolder, file), "utf8");
    for (const [name] of text.matchAll(/(?<=[."])[a-z][A-Za-z0-9]+(?=\(|")/gu)) {
      if (programs.some((each) => Object.hasOwn(each.procedures, name))) procedures.add(name);
    }
    for (const [, kind, name] of text.matchAll(/\bevents\s*\.(\w+)\(\s*"(\w+)"/gu)) events.add(`${kind}.${name}`);
    for (const [name] of text.matchAll(/\bVIR_[A-Z0-9_]+\b/gu)) constants.add(name);
  }
  return { procedures, events, constants };
}
