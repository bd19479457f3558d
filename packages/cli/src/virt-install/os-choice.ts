/**
 * Which operating system the guest gets: what --osinfo says, else what the installer's or image's file name tells.
 * Without either nothing good can be chosen, and that is said. Facts: virtinst/cli.py OSVariantData, 4.1.
 */
import { diskTexts } from "./build.ts";
import { findOs, type FoundOs, type GuestOs, guessOs } from "./os.ts";
import { onOff, parseSubOptions, refuse, subOptions } from "./sub-option.ts";
import type { Words } from "./word.ts";

const option = "--osinfo";
const table = subOptions("name,short-id -\nid -\ndetect -\nrequire -");

interface ChosenOs {
  readonly os: GuestOs;
  readonly remarks: readonly string[];
}

export function chooseOs(words: Words): ChosenOs {
  const text = words.text("--os-variant") ?? "auto";
  if (text === "auto") return detected(words, undefined, true);
  if (text === "none") return chosen(findOs("generic", option));
  if (!text.includes("=")) return chosen(findOs(text, option));
  const given = parseSubOptions(option, text, table, []);
  const name = given.get("name") ?? given.get("short-id") ?? given.get("id");
  const detect = onOff(option, "detect", given.get("detect") ?? "no");
  const require = given.has("require") && onOff(option, "require", given.get("require"));
  const named = name === undefined ? undefined : findOs(name, option);
  return detect ? detected(words, named, require) : chosen(named ?? fallback(words, require));
}

function chosen({ os, remark }: FoundOs): ChosenOs {
  const isGeneric = os.names[0] === "generic";
  const remarks = remark === undefined ? [] : [remark];
  if (isGeneric) {
    remarks.push("Using --osinfo generic, VM performance may suffer. Specify an accurate OS for optimal results.");
  }
  return { os, remarks };
}

/** An OS that is named with detect=on stands where nothing is found. */
function detected(words: Words, named: FoundOs | undefined, isRequired: boolean): ChosenOs {
  const media = [words.text("--cdrom"), ...diskTexts(words).map((text) => text.split(",")[0]?.replace(/^path=/, ""))];
  for (const name of media) {
    const found = name === undefined ? undefined : guessOs(name);
    if (found === undefined) continue;
    const { os, remarks } = chosen(found);
    return { os, remarks: [`Taken for ${os.names[0]} by the name ${name}; say --osinfo if it is not.`, ...remarks] };
  }
  return chosen(named ?? fallback(words, isRequired));
}

/** --os-type does nothing more in virt-install; here it is better than to know nothing. */
function fallback(words: Words, isRequired: boolean): FoundOs {
  const type = words.text("--os-type")?.toLowerCase();
  if (type === "linux") {
    return { ...findOs("linux2022", option), remark: "No --osinfo: taken for a Linux of recent years (linux2022)." };
  }
  if (type === "windows") {
    return { ...findOs("win10", option), remark: "No --osinfo: taken for Windows 10 or a server of its age (win10)." };
  }
  if (!isRequired) return findOs("generic", option);
  const remedy =
    "Say --osinfo NAME: it decides on virtio devices, firmware, clock. All: --osinfo list; any Linux: --osinfo linux2022; nothing known: --osinfo generic.";
  throw refuse(option, "--osinfo is missing, and the system can't be told from a file name.", remedy);
}
