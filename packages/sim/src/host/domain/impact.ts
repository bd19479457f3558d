// Whether a change is for the running guest, for its definition, or for both (virDomainObjUpdateModificationImpact).
import { VIR_DOMAIN_AFFECT_CONFIG, VIR_DOMAIN_AFFECT_LIVE } from "@innkeeper/libvirt/generated/domain-constant.ts";
import {
  VIR_ERR_INVALID_ARG,
  VIR_ERR_OPERATION_INVALID,
  VIR_FROM_DOMAIN,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import type { Element } from "#xml/element.ts";
import type { SimDomain } from "./sim-domain.ts";

export interface Impact {
  readonly live: boolean;
  readonly config: boolean;
}

const BOTH = VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG;

export function impactOf(domain: SimDomain, flags: number): Impact {
  const given = flags & BOTH;
  const wanted = given === 0 ? (domain.isActive ? VIR_DOMAIN_AFFECT_LIVE : VIR_DOMAIN_AFFECT_CONFIG) : given;
  const live = (wanted & VIR_DOMAIN_AFFECT_LIVE) !== 0;
  const config = (wanted & VIR_DOMAIN_AFFECT_CONFIG) !== 0;
  if (live && !domain.isActive) throw invalid("domain is not running");
  if (config && !domain.isPersistent) throw invalid("transient domains do not have any persistent config");
  return { live, config };
}

/** For what is read: one of the two. */
export function sideOf(domain: SimDomain, flags: number): "live" | "config" {
  if ((flags & BOTH) === BOTH) {
    const detail = "flags 'VIR_DOMAIN_AFFECT_LIVE' and 'VIR_DOMAIN_AFFECT_CONFIG' are mutually exclusive";
    throw new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_DOMAIN, detail);
  }
  return impactOf(domain, flags).live ? "live" : "config";
}

/** Changes what the flags name. The definition first: when it is refused there, nothing has happened. */
export function editBy(domain: SimDomain, flags: number, edit: (root: Element) => void): Impact {
  const impact = impactOf(domain, flags);
  if (impact.config) domain.editConfig(edit);
  if (impact.live) domain.editLive(edit);
  return impact;
}

export function rootOf(domain: SimDomain, flags: number): Element {
  return sideOf(domain, flags) === "live" ? domain.liveRoot() : domain.config.root();
}

function invalid(detail: string): SimError {
  return new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_DOMAIN, detail);
}
