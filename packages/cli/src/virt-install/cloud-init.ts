/**
 * --cloud-init: what a cloud image finds at its first start, as files of a NoCloud seed (cloud-init docs, "NoCloud").
 * Facts: virt-install 4.1 (virtinst/install/cloudinit.py, `--cloud-init` in its manual). Secrets are never printed but for
 * the password that is generated.
 */
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { valueError } from "#cli-error.ts";
import { type Given, onOff, parseSubOptions, subOptions } from "./sub-option.ts";
import type { Words } from "./word.ts";

const option = "--cloud-init";
export const cloudInitTable = subOptions(
  `root-password-generate -
   root-password-file -
   disable -
   root-ssh-key,ssh-key -
   clouduser-ssh-key -
   user-data -
   meta-data -
   network-config -`,
);

export interface Seed {
  /** By name; in the seed's root. */
  readonly files: Readonly<Record<string, string>>;
  readonly generatedPassword?: string;
}

/** undefined without the option. */
export function seedOf(words: Words): Seed | undefined {
  if (!words.has(option)) return undefined;
  const text = words.text(option) ?? "root-password-generate=yes,disable=yes";
  const given = parseSubOptions(option, text, cloudInitTable, []);
  const generates = isOn(given, "root-password-generate");
  const generatedPassword = generates ? newPassword() : undefined;
  const network = fileText(given, "network-config");
  return {
    files: {
      "meta-data": fileText(given, "meta-data") ?? "",
      "user-data": fileText(given, "user-data") ?? userData(given, generatedPassword),
      ...(network !== undefined && { "network-config": network }),
    },
    ...(generatedPassword !== undefined && { generatedPassword }),
  };
}

function isOn(given: Given, name: string): boolean {
  return given.has(name) && onOff(option, name, given.get(name));
}

function fileText(given: Given, name: string): string | undefined {
  const file = given.get(name);
  if (file === undefined || file === "") return undefined;
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw valueError(option, `${name}=${file} can't be read on this machine: ${reason}`);
  }
}

/** A secret's file may end with a line break. */
function firstLine(given: Given, ...names: readonly string[]): string | undefined {
  const text = names.map((name) => fileText(given, name)).find((each) => each !== undefined);
  return text?.split(/\r?\n/)[0];
}

/** JSON's strings are YAML's (YAML 1.2 §1.3), so that no key or password is anything else. */
function userData(given: Given, generatedPassword: string | undefined): string {
  const password = generatedPassword ?? firstLine(given, "root-password-file");
  const rootKey = firstLine(given, "root-ssh-key", "ssh-key");
  const userKey = firstLine(given, "clouduser-ssh-key");
  const users = [
    ...(rootKey === undefined ? [] : [{ name: "root", "ssh-authorized-keys": [rootKey] }]),
    ...(userKey === undefined ? [] : [{ "ssh-authorized-keys": [userKey] }]),
  ];
  const disable = 'echo "Disabled by virt-install" > /etc/cloud/cloud-init.disabled';
  const config = {
    ...(password !== undefined && {
      chpasswd: { list: `root:${password}\n`, expire: generatedPassword !== undefined },
    }),
    ...(users.length > 0 && { users }),
    ...(isOn(given, "disable") && { runcmd: [disable] }),
  };
  const lines = Object.entries(config).map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`);
  return `#cloud-config\n${lines.join("")}`;
}

/** 16 letters and digits: 95 bits. */
function newPassword(): string {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  return Array.from({ length: 16 }, () => letters[randomInt(letters.length)]).join("");
}
