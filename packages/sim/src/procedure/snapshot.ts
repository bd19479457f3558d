// Snapshots of domains (libvirt 9.0 qemuDomainSnapshot* in src/qemu/qemu_driver.c; filters of
// virDomainSnapshotObjListGetNames).
import {
  VIR_DOMAIN_SNAPSHOT_LIST_ACTIVE,
  VIR_DOMAIN_SNAPSHOT_LIST_DESCENDANTS,
  VIR_DOMAIN_SNAPSHOT_LIST_DISK_ONLY,
  VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL,
  VIR_DOMAIN_SNAPSHOT_LIST_INACTIVE,
  VIR_DOMAIN_SNAPSHOT_LIST_INTERNAL,
  VIR_DOMAIN_SNAPSHOT_LIST_LEAVES,
  VIR_DOMAIN_SNAPSHOT_LIST_NO_LEAVES,
  VIR_DOMAIN_SNAPSHOT_LIST_NO_METADATA,
  VIR_DOMAIN_SNAPSHOT_LIST_ROOTS,
  VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL,
} from "@innkeeper/libvirt/generated/domain-snapshot-constant.ts";
import type { NonnullDomainSnapshot } from "@innkeeper/libvirt/generated/remote-type.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import { formatSnapshot, type Snapshot } from "#host/snapshot/snapshot-definition.ts";
import { deleteSnapshot, revert } from "#host/snapshot/snapshot-end.ts";
import { noSnapshot, type SnapshotTree } from "#host/snapshot/snapshot-tree.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";
import { parse } from "#xml/parse.ts";

interface Found {
  readonly domain: SimDomain;
  readonly tree: SnapshotTree;
  readonly snapshot: Snapshot;
}

function found(host: SimHost, { dom, name }: NonnullDomainSnapshot): Found {
  const domain = host.domains.require(dom);
  const tree = host.snapshots.treeOf(domain);
  return { domain, tree, snapshot: tree.require(name) };
}

const handleOf = ({ ref }: SimDomain, { name }: Snapshot): NonnullDomainSnapshot => ({ name, dom: ref });

const isExternal = ({ disks, memory }: Snapshot): boolean =>
  memory?.location === "external" || disks.some((disk) => disk.location === "external");

/** Groups of flags of which one must be met, when any of the group is given. */
const FILTERS: readonly (readonly (readonly [flag: number, is: (of: Snapshot, tree: SnapshotTree) => boolean])[])[] = [
  [
    [VIR_DOMAIN_SNAPSHOT_LIST_LEAVES, (of, tree) => tree.children(of).length === 0],
    [VIR_DOMAIN_SNAPSHOT_LIST_NO_LEAVES, (of, tree) => tree.children(of).length > 0],
  ],
  [
    [VIR_DOMAIN_SNAPSHOT_LIST_INACTIVE, ({ state }) => state === "shutoff"],
    [VIR_DOMAIN_SNAPSHOT_LIST_ACTIVE, ({ state }) => state === "running" || state === "paused"],
    [VIR_DOMAIN_SNAPSHOT_LIST_DISK_ONLY, ({ state }) => state === "disk-snapshot"],
  ],
  [
    [VIR_DOMAIN_SNAPSHOT_LIST_INTERNAL, (of) => !isExternal(of)],
    [VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL, isExternal],
  ],
  [[VIR_DOMAIN_SNAPSHOT_LIST_NO_METADATA, () => false]],
];

function listed(tree: SnapshotTree, flags: number, below?: Snapshot): readonly Snapshot[] {
  const isDeep = (flags & VIR_DOMAIN_SNAPSHOT_LIST_DESCENDANTS) !== 0;
  const isOrdered = (flags & VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL) !== 0;
  const isRoots = (flags & VIR_DOMAIN_SNAPSHOT_LIST_ROOTS) !== 0;
  const all =
    below !== undefined
      ? isDeep
        ? tree.descendants(below)
        : tree.children(below)
      : isRoots
        ? tree.roots()
        : isOrdered
          ? tree.roots().flatMap((root) => [root, ...tree.descendants(root)])
          : tree.all;
  return all.filter((snapshot) =>
    FILTERS.every((group) => {
      const asked = group.filter(([flag]) => (flags & flag) !== 0);
      return asked.length === 0 || asked.some(([, is]) => is(snapshot, tree));
    }),
  );
}

function of(host: SimHost, dom: NonnullDomainSnapshot["dom"], flags = 0): [SimDomain, readonly Snapshot[]] {
  const domain = host.domains.require(dom);
  return [domain, listed(host.snapshots.treeOf(domain), flags)];
}

function below(host: SimHost, snap: NonnullDomainSnapshot, flags = 0): [SimDomain, readonly Snapshot[]] {
  const { domain, tree, snapshot } = found(host, snap);
  return [domain, listed(tree, flags, snapshot)];
}

function handles(needResults: number, [domain, all]: [SimDomain, readonly Snapshot[]]) {
  return {
    snapshots: needResults === 0 ? [] : all.map((snapshot) => handleOf(domain, snapshot)),
    ret: all.length,
  };
}

const names = (maxnames: number, [, all]: [SimDomain, readonly Snapshot[]]) => ({
  names: all.map(({ name }) => name).slice(0, maxnames),
});

export const snapshotProcedures: Procedures = {
  remote: {
    domainSnapshotCreateXml: async (host, { dom, xmlDesc, flags }) => {
      const domain = host.domains.require(dom);
      return { snap: handleOf(domain, await host.snapshots.create(domain, xmlDesc, flags ?? 0)) };
    },
    domainSnapshotGetXmlDesc: (host, { snap }) => ({ xml: formatSnapshot(found(host, snap).snapshot, parse) }),
    domainSnapshotNum: (host, { dom, flags }) => ({ num: of(host, dom, flags)[1].length }),
    domainSnapshotListNames: (host, { dom, maxnames, flags }) => names(maxnames, of(host, dom, flags)),
    domainListAllSnapshots: (host, { dom, needResults, flags }) => handles(needResults, of(host, dom, flags)),
    domainSnapshotNumChildren: (host, { snap, flags }) => ({ num: below(host, snap, flags)[1].length }),
    domainSnapshotListChildrenNames: (host, { snap, maxnames, flags }) => names(maxnames, below(host, snap, flags)),
    domainSnapshotListAllChildren: (host, { snapshot, needResults, flags }) =>
      handles(needResults, below(host, snapshot, flags)),
    domainSnapshotLookupByName: (host, { dom, name }) => {
      const { domain, snapshot } = found(host, { dom, name });
      return { snap: handleOf(domain, snapshot) };
    },
    domainHasCurrentSnapshot: (host, { dom }) => ({
      result: host.snapshots.treeOf(host.domains.require(dom)).current === undefined ? 0 : 1,
    }),
    domainSnapshotCurrent: (host, { dom }) => {
      const domain = host.domains.require(dom);
      const { current } = host.snapshots.treeOf(domain);
      if (current === undefined) throw noSnapshot("the domain does not have a current snapshot");
      return { snap: handleOf(domain, current) };
    },
    domainSnapshotGetParent: (host, { snap }) => {
      const { domain, tree, snapshot } = found(host, snap);
      const parent = tree.parentOf(snapshot);
      if (parent === undefined) throw noSnapshot(`snapshot '${snapshot.name}' does not have a parent`);
      return { snap: handleOf(domain, parent) };
    },
    domainSnapshotIsCurrent: (host, { snap }) => {
      const { tree, snapshot } = found(host, snap);
      return { current: tree.current === snapshot ? 1 : 0 };
    },
    domainSnapshotHasMetadata: (host, { snap }) => {
      found(host, snap);
      return { metadata: 1 };
    },
    domainRevertToSnapshot: (host, { snap, flags }) => {
      const { domain, snapshot } = found(host, snap);
      revert(host.snapshots, domain, snapshot, flags ?? 0);
    },
    domainSnapshotDelete: (host, { snap, flags }) => {
      const { domain, snapshot } = found(host, snap);
      deleteSnapshot(host.snapshots, domain, snapshot, flags ?? 0);
    },
  },
};
