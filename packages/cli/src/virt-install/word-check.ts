/** What can be refused by the words alone, before the server is asked anything. */
import { withoutFeatures } from "./domain.ts";
import { XmlElement } from "./element.ts";
import { deviceOptions } from "./option/device.ts";
import { domainOptions } from "./option/domain.ts";
import { installTable } from "./install.ts";
import { refusalReason } from "./refusal.ts";
import { applySubOptions, parseSubOptions, refuse } from "./sub-option.ts";
import type { Words } from "./word.ts";

/** Of options that say different things, one would have to be ignored. */
const conflicts: readonly (readonly [string, string])[] = [
  ["--cdrom", "--pxe"],
  ["--cdrom", "--import"],
  ["--pxe", "--import"],
  ["--install", "--import"],
  ["--install", "--pxe"],
  ["--noautoconsole", "--destroy-on-exit"],
];
const installers = [
  "--cdrom",
  "--pxe",
  "--import",
  "--boot",
  "--install",
  "--cloud-init",
  "--print-xml",
  "--print-step",
];

export function checkWords(words: Words): void {
  checkSubOptions(words);
  for (const [first, second] of conflicts) {
    if (words.has(first) && words.has(second)) throw refuse(second, `${second} can't go with ${first}.`);
  }
  if (words.has("--livecd") && !words.has("--cdrom")) throw refuse("--livecd", "--livecd needs --cdrom.");
  checkBootDevice(words);
  checkChecks(words);
  if (installers.some((option) => words.has(option))) return;
  const remedy = "Say --cdrom MEDIUM, --import, --pxe, or --boot hd|cdrom|….";
  throw refuse("--import", "It is not said how the guest is installed.", remedy);
}

function checkSubOptions(words: Words): void {
  for (const [option, { refused, table, first }] of Object.entries({ ...deviceOptions, ...domainOptions })) {
    if (refused !== undefined && words.has(option)) {
      throw refuse(option, `${option} is not supported: ${refusalReason(refused)}`);
    }
    for (const text of words.texts(option)) {
      const given = parseSubOptions(option, option === "--cpu" ? withoutFeatures(text) : text, table, first);
      applySubOptions(option, new XmlElement("scratch"), given, table);
    }
  }
}

/** With a CD the first start boots from it, whatever else is said. */
function checkBootDevice(words: Words): void {
  const text = words.text("--install");
  if (text === undefined || !words.has("--cdrom")) return;
  const device = parseSubOptions("--install", text, installTable, ["os"]).get("bootdev");
  if (device === undefined || device === "cdrom") return;
  throw refuse("--install", `--install bootdev=${device} can't go with --cdrom.`, "Say one of the two.");
}

const checks: readonly string[] = ["path_in_use", "disk_size", "path_exists", "mac_in_use", "all"];

function checkChecks(words: Words): void {
  for (const word of words.texts("--check").flatMap((text) => text.split(","))) {
    const [name = "", value = ""] = word.split("=");
    if (!checks.includes(name)) throw refuse("--check", `--check has no "${name}".`, `There are ${checks.join(", ")}.`);
    if (!/^(y|yes|1|true|t|on|n|no|0|false|f|off)$/i.test(value)) {
      throw refuse("--check", `--check ${name} must be on or off.`);
    }
  }
}
