/** Checks of a migration: the two hosts, the guest's state, who it is, and whether the hosts reach each other. */
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { MigrationFinding } from "@innkeeper/contract/resource/migration.ts";
import { statesFor, vmCan } from "@innkeeper/contract/state/vm.ts";
import { hostUnfit } from "#management/placement/candidate.ts";
import type { MigrationContact } from "#virtualization/migration/port.ts";
import type { MigrationFacts } from "./migration-fact.ts";
import { noted, refused, warned } from "./migration-finding.ts";
import { migrationUri } from "./migration-uri.ts";

/** Whether the target takes guests at all; if not, nothing else is worth checking. */
export function checkHost({ vm, target, unasked }: MigrationFacts): MigrationFinding[] {
  if (target.id === vm.hostId) {
    return [refused("host", "conflict", `VM ${vm.name} is on host ${target.name} already.`, "Name another host.")];
  }
  const unfit = hostUnfit(target);
  if (unfit !== undefined)
    return [refused("host", unfit.code, unfit.message, "Name another host, or bring this one back.")];
  if (unasked === undefined) return [];
  const message = `Host ${target.name} could not be examined: ${unasked.message}`;
  return [
    refused("host", unasked.code, message, unasked.remedy ?? "Look at the host's libvirt daemon, then try again."),
  ];
}

export function checkGuest({ vm, live, traits, hasSavedMemory, request }: MigrationFacts): MigrationFinding[] {
  const about = { field: "vmId" };
  const findings: MigrationFinding[] = [];
  if (!vmCan.migrate(vm)) {
    const remedy = `It can be migrated when it is: ${statesFor("migrate").join(", ")}.`;
    findings.push(
      refused("guest", "invalid_state", `VM ${vm.name} is ${vm.state} and can't be migrated.`, remedy, about),
    );
  }
  if (!vm.persistent) {
    const message = `VM ${vm.name} is transient (made with virsh create) and can't be migrated.`;
    findings.push(
      refused("guest", "unsupported", message, "Define it on its host first (virsh dumpxml, virsh define).", about),
    );
  }
  if (hasSavedMemory) {
    const message = `VM ${vm.name} is off with its memory saved (virsh managedsave), which stays on its host.`;
    const remedy = `Start it once and shut it down, or give the saved memory up with \`virsh managedsave-remove ${vm.name}\`.`;
    findings.push(refused("guest", "invalid_state", message, remedy, about));
  }
  if (vm.state === "paused" && vm.stateDetail === "I/O error") {
    const message = `VM ${vm.name} stands still because its storage failed (I/O error), and libvirt does not move it so.`;
    findings.push(
      refused("guest", "invalid_state", message, "Mend the storage and resume the VM, or power it off.", about),
    );
  }
  if (vm.state === "paused" && request.postCopy === true) {
    const message = `VM ${vm.name} is paused: post-copy is for guests that run.`;
    findings.push(
      refused("guest", "invalid_state", message, "Leave post-copy out, or resume the VM.", { field: "postCopy" }),
    );
  }
  if (traits?.job !== undefined) {
    const message = `Another job works on VM ${vm.name}: ${traits.job}.`;
    const remedy = `Wait for its end, or end it with \`virsh domjobabort ${vm.name}\`.`;
    findings.push(refused("guest", "conflict", message, remedy, about));
  }
  for (const device of live ? (traits?.blockJobs ?? []) : []) {
    const message = `A block job (copy, commit, backup) works on disk ${device}.`;
    const remedy = `Wait for its end, or end it with \`virsh blockjob ${vm.name} ${device} --abort\`.`;
    findings.push(refused("guest", "conflict", message, remedy, { device }));
  }
  return findings;
}

export function checkIdentity({ vm, target, others, reception }: MigrationFacts): MigrationFinding[] {
  const there = [...others, ...(reception?.guests ?? [])];
  const findings: MigrationFinding[] = [];
  if (there.some((other) => other.uuid === vm.uuid)) {
    const message = `Host ${target.name} has another VM with the UUID ${vm.uuid}.`;
    const remedy = "Look at it with virsh on that host; a left-over definition goes with `virsh undefine`.";
    findings.push(refused("identity", "conflict", message, remedy));
  }
  if (there.some((other) => other.name === vm.name && other.uuid !== vm.uuid)) {
    const message = `Host ${target.name} has another VM named ${vm.name}.`;
    findings.push(refused("identity", "name_taken", message, "Rename or delete one of the two."));
  }
  return findings;
}

type Failure = Exclude<MigrationContact["result"], "reached" | "refused">;

/** What to do, by how the source's daemon failed to reach the target's. */
const contactRemedy: Readonly<Record<Failure, (target: string, uri: string, source: string) => string>> = {
  "name-unknown": (target, uri) =>
    `Make the name in ${uri} known to the source (DNS or /etc/hosts), or add host ${target} to Innkeeper by its address.`,
  "no-answer": (_target, uri) => `Check the network between the two hosts, and packet filters on the way to ${uri}.`,
  // https://libvirt.org/auth.html#client-configuration
  "login-needed": (target, uri, source) =>
    `libvirt on host ${target} asks for a user name and a password (SASL). Give them to libvirt on host ${source}, in its /etc/libvirt/auth.conf: [credentials-${target}] with authname= and password=, and [auth-libvirt-${new URL(uri).hostname.replaceAll(/[[\]]/g, "")}] with credentials=${target}.`,
  untrusted: (target, uri) =>
    `Certificates of both hosts must come from one authority, ${target}'s must name what stands in ${uri}, and the source needs a client certificate (/etc/pki/libvirt; for SSH a key without a passphrase).`,
  unreachable: (target, uri) =>
    `Check that libvirt on host ${target} listens at ${uri}, and packet filters on the way.`,
};

const failureCode: Partial<Record<Failure, ErrorCode>> = {
  untrusted: "host_untrusted",
  "login-needed": "host_refused",
};

export function checkConnection({
  vm,
  source,
  target,
  contact,
  traits,
  reception,
  missingCertificates,
}: MigrationFacts): MigrationFinding[] {
  const uri = migrationUri(target);
  if (uri === undefined) {
    const message = `Host ${target.name} is managed through a local socket (${target.uri}): other hosts have no address for it.`;
    return [refused("connection", "unsupported", message, "Add it to Innkeeper by qemu+tls:// or qemu+ssh://.")];
  }
  const certificates = checkCertificates(source, target, missingCertificates);
  if (contact === undefined) {
    const isAsked = traits !== undefined && reception !== undefined;
    const untried = noted("connection", `Whether its host reaches host ${target.name} was not tried.`);
    return isAsked ? [untried, ...certificates] : certificates;
  }
  if (contact.result === "reached" || contact.result === "refused") return certificates;
  const code = failureCode[contact.result] ?? "host_unreachable";
  const sourceName = source?.name ?? vm.hostId;
  const message = `Host ${sourceName} can't reach host ${target.name} at ${uri}: ${contact.detail}`;
  const remedy = contactRemedy[contact.result](target.name, uri, sourceName);
  return [refused("connection", code, message, remedy), ...certificates];
}

/** Where libvirt's configuration names another folder, Innkeeper looks into the wrong one: it can't refuse. */
function checkCertificates(
  source: Host | undefined,
  target: Host,
  missing: MigrationFacts["missingCertificates"],
): MigrationFinding[] {
  if (missing === undefined) return [];
  const about = { field: "encrypt" };
  const ends = [
    [source?.name ?? "of the VM", missing.source],
    [target.name, missing.target],
  ] as const;
  return ends.flatMap(([name, files]) => {
    if (files === undefined) {
      const message = `Whether host ${name} has QEMU's certificates (/etc/pki/qemu), with which memory and disks are encrypted, can't be seen.`;
      return [noted("connection", message, about)];
    }
    if (files.length === 0) return [];
    const message = `Host ${name} does not have ${files.join(", ")}, with which QEMU encrypts memory and disks.`;
    const remedy = `Put them there (https://www.qemu.org/docs/master/system/tls.html). If migrate_tls_x509_cert_dir or default_tls_x509_cert_dir in its /etc/libvirt/qemu.conf names another folder, look there.`;
    return [warned("connection", message, remedy, about)];
  });
}

/** What its own host has against it and no other check explains; told only when none of them found an error. */
export function checkRefusal({ vm, contact }: MigrationFacts): MigrationFinding[] {
  if (contact?.result !== "refused") return [];
  const message = `Its host does not let VM ${vm.name} go: ${contact.detail}`;
  const remedy = "Change the VM so that its host lets it go, or power it off and move it then.";
  return [refused("guest", "unsupported", message, remedy, { field: "vmId" })];
}

/** Migration goes forward: an older QEMU or libvirt may not understand what a newer one sends. */
export function checkVersion({ live, source, target }: MigrationFacts): MigrationFinding[] {
  const [from, to] = [source?.hardware, target.hardware];
  if (!live || from === undefined || to === undefined) return [];
  const rows = [
    [from.hypervisor, from.hypervisorVersion, to.hypervisorVersion],
    ["libvirt", from.libvirtVersion, to.libvirtVersion],
  ] as const;
  return rows.flatMap(([what, ours, theirs]) => {
    if (!isOlder(theirs, ours)) return [];
    const message = `Host ${target.name} has ${what} ${theirs}, older than ${ours} on host ${source?.name}: it may not take a running guest back.`;
    return [warned("version", message, `Upgrade ${what} on host ${target.name}, or move the VM while it is off.`)];
  });
}

function isOlder(version: string, than: string): boolean {
  const [left, right] = [version, than].map((each) => each.split(".").map(Number));
  if (left === undefined || right === undefined || version === "" || than === "") return false;
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
