/**
 * What a cmdlet takes: the parameters that PowerCLI gives it. What PowerCLI has and Innkeeper has not is declared too, with its
 * reason, so that it is refused by name and never ignored.
 * Facts: Broadcom's PowerCLI reference, https://developer.broadcom.com/powercli/latest/vmware.vimautomation.core/commands/<cmdlet>;
 * PowerShell's about_Parameters, about_CommonParameters.
 */
import type { OperationId } from "@innkeeper/contract/endpoint/table.ts";
import type { LookupNoun } from "#lookup.ts";

type ParameterType = "text" | "decimal" | "integer" | "switch" | "boolean" | "time";

export interface Parameter {
  /** As PowerCLI spells it. */
  readonly name: string;
  readonly help: string;
  /** Default: text. */
  readonly type?: ParameterType;
  /** Takes `a,b`; otherwise a comma is a part of the value. */
  readonly list?: true;
  readonly aliases?: readonly string[];
  /** The words that it takes, in any case. */
  readonly words?: readonly string[];
  /** What its names are names of, for completion. */
  readonly noun?: LookupNoun | undefined;
  /** 0, 1, … where it may be given without its name. */
  readonly position?: number;
  readonly required?: true;
  /** Taken from standard input where it is required and not given. */
  readonly pipeline?: true;
}

export interface Signature {
  readonly name: string;
  readonly summary: string;
  /** The operations of the API that it gives access to. */
  readonly operations: readonly OperationId[];
  readonly parameters: readonly Parameter[];
  /** Parameters of PowerCLI's that are refused, with the reason and what to do instead. */
  readonly refused?: Readonly<Record<string, string>>;
  /** `asks`: changes something that people regret (ConfirmImpact High); `changes`: asks only with -Confirm. */
  readonly impact?: "asks" | "changes";
  /** Command lines without the leading `inn`. */
  readonly examples: readonly string[];
  readonly details?: string;
  /** The parameter that stands for a field of the request, by dotted path without numbers; the longest prefix counts. */
  readonly parameterOfField?: Readonly<Record<string, string>>;
}

export const server: Parameter = { name: "Server", help: "a saved server's name, or a URL (also INN_SERVER)" };

export const runAsync: Parameter = {
  name: "RunAsync",
  type: "switch",
  help: "print the task and return at once",
};

/** What most cmdlets act on. */
export const vmParameter: Parameter = {
  name: "VM",
  list: true,
  position: 0,
  required: true,
  pipeline: true,
  noun: "vm",
  help: "the VMs, by name (with wildcards), id, or host/name",
};

export const hostParameter: Parameter = {
  name: "VMHost",
  list: true,
  position: 0,
  required: true,
  pipeline: true,
  noun: "host",
  help: "the hosts, by name (with wildcards) or id",
};

/** about_CommonParameters, as far as they mean something here. */
export const commonParameters: readonly Parameter[] = [
  server,
  {
    name: "ErrorAction",
    aliases: ["ea"],
    words: ["Continue", "Stop", "SilentlyContinue", "Ignore"],
    help: "what an error does to the objects that follow it: they are still done (Continue), or not (Stop)",
  },
  { name: "Verbose", aliases: ["vb"], type: "switch", help: "name the tasks that run, on standard error" },
  {
    name: "ProgressAction",
    aliases: ["proga"],
    words: ["Continue", "SilentlyContinue", "Ignore"],
    help: "without a progress bar: SilentlyContinue",
  },
  {
    name: "WarningAction",
    aliases: ["wa"],
    words: ["Continue", "SilentlyContinue", "Ignore"],
    help: "without warnings: SilentlyContinue",
  },
];

/** about_CommonParameters' risk mitigation parameters, of cmdlets that change something. */
export const riskParameters: readonly Parameter[] = [
  { name: "WhatIf", aliases: ["wi"], type: "switch", help: "say what would be done, and do nothing" },
  { name: "Confirm", aliases: ["cf"], type: "switch", help: "ask before each; -Confirm:$false never asks" },
];

const ofPowerShell = "it is for PowerShell's own streams and variables: use what the shell has";
const commonRefused: Readonly<Record<string, string>> = {
  Debug: ofPowerShell,
  ErrorVariable: ofPowerShell,
  InformationAction: ofPowerShell,
  InformationVariable: ofPowerShell,
  OutBuffer: ofPowerShell,
  OutVariable: ofPowerShell,
  PipelineVariable: ofPowerShell,
  WarningVariable: ofPowerShell,
};

/** All that can stand on its command line. */
export function allParameters(cmdlet: Signature): readonly Parameter[] {
  return [...cmdlet.parameters, ...(cmdlet.impact === undefined ? [] : riskParameters), ...commonParameters];
}

export function allRefused(cmdlet: Signature): Readonly<Record<string, string>> {
  return { ...commonRefused, ...cmdlet.refused };
}
