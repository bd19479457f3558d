/**
 * Calls that want a guest that boots, or a second host: made by us on twin-a, by python on twin-b. `h2` is python's
 * connection to the second host. Flags of migrations: live 1, peer to peer 2, persistent there 8 and no longer here 16,
 * on a disk that libvirt holds for not shared 512, post-copy 32768.
 */
import type { NonnullDomain } from "@innkeeper/libvirt";
import { waitFor } from "@innkeeper/lab/wait.ts";
import { type ComparedCall, effect, type Remote } from "./compared-call.ts";

const guestMoves = 1 + 2 + 8 + 16 + 512 + 32_768;
const whereLook =
  "[[(d.name(), d.state()) for d in each.listAllDomains() if d.name() == o.name()] for each in (c, h2)]";

/** The lab's guest, whose agent answers, on the disk. */
export const guestXml = (name: string, disk: string): string => `<domain type='qemu'><name>${name}</name>
  <memory unit='MiB'>192</memory><os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
  <pm><suspend-to-mem enabled='yes'/></pm><devices>
  <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
  <interface type='network'><source network='default'/><model type='virtio'/></interface><serial type='pty'/>
  <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>`;

function migration(dom: NonnullDomain, uri: string, flags: number, params: Record<string, bigint> = {}) {
  return { dom, dconnuri: uri, params, cookieIn: new Uint8Array(), flags };
}

async function postCopied(remote: Remote, dom: NonnullDomain, uri: string): Promise<void> {
  const moved = remote.domainMigratePerform3Params(migration(dom, uri, guestMoves, { bandwidth: 1n }));
  const isOnItsWay = async (): Promise<true | undefined> =>
    (await remote.domainGetJobInfo({ dom })).dataProcessed > 0n ? true : undefined;
  // What the migration itself fails with says more than that it never came on its way.
  await Promise.race([moved, waitFor("bytes on their way", isOnItsWay, { timeoutMs: 60_000, intervalMs: 20 })]);
  await remote.domainMigrateStartPostCopy({ dom });
  await moved;
}

/** A domain that needs nothing of its host. */
export const transientMoves = (uri: string): readonly ComparedCall<NonnullDomain>[] => [
  effect(
    "domainMigratePerform3Params",
    (remote, dom) => remote.domainMigratePerform3Params(migration(dom, uri, 1 + 2)),
    `o.migrateToURI3('${uri}', {}, 1 + 2)`,
    whereLook,
  ),
];

/** The guest sleeps, is woken and moves. */
export const guestMovesTo = (uri: string): readonly ComparedCall<NonnullDomain>[] => [
  effect(
    "domainPmWakeup",
    (remote, dom) => remote.domainPmWakeup({ dom }),
    "o.pMWakeup()",
    "[in_state(o, 1), answers(o)]",
    "[o.pMSuspendForDuration(0, 0), in_state(o, 7)]",
  ),
  effect(
    "domainMigrateStartPostCopy",
    (remote, dom) => postCopied(remote, dom, uri),
    `post_copied(o, '${uri}', ${guestMoves})`,
    `[${whereLook}, answers(h2.lookupByName(o.name()))]`,
  ),
];
