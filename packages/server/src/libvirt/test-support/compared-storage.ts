/** Calls about pools and volumes. What changes something is done by us on twin-a, by python on twin-b. */
import {
  type Connection,
  type NonnullStoragePool,
  type NonnullStorageVol,
  type OpenStream,
  VIR_STORAGE_VOL_GET_PHYSICAL,
} from "@innkeeper/libvirt";
import { type ComparedCall, effect, filled, inPython, named, type Remote, volume } from "./compared-call.ts";

const poolXml = "<pool type='dir'><name>NAME</name><target><path>/var/lib/libvirt/NAME</path></target></pool>";
const qcow2Xml =
  "<volume><name>NAME.qcow2</name><capacity>1048576</capacity><target><format type='qcow2'/></target></volume>";
const rawXml = "<volume><name>NAME.raw</name><capacity>65536</capacity><target><format type='raw'/></target></volume>";
const copyXml =
  "<volume><name>NAME-copy.qcow2</name><capacity>1048576</capacity><target><format type='qcow2'/></target></volume>";
const poolLook = "[strip(o.XMLDesc()), o.isActive(), o.autostart()]";

async function localPool(remote: Remote): Promise<NonnullStoragePool> {
  return (await remote.storagePoolLookupByName({ name: "local" })).pool;
}

async function bytesOf({ readable, completed }: OpenStream<unknown>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readable) if (chunk instanceof Uint8Array) chunks.push(chunk);
  await completed;
  return Buffer.concat(chunks).toString();
}

async function upload(connection: Connection, vol: NonnullStorageVol, content: string): Promise<void> {
  const length = BigInt(content.length);
  const stream = await connection.stream("storageVolUpload", { vol, offset: 0n, length });
  const writer = stream.writable.getWriter();
  await writer.write(Buffer.from(content));
  await writer.close();
}

export const poolMakings: readonly ComparedCall<string>[] = [
  {
    procedure: "storagePoolDefineXml",
    ours: (remote, name) => remote.storagePoolDefineXml({ xml: filled(poolXml, name) }).then(() => null),
    python: `c.storagePoolDefineXML(${inPython(poolXml)}) and None`,
    look: "strip(c.storagePoolLookupByName(n).XMLDesc())",
  },
  {
    procedure: "storagePoolDefineXml",
    ours: (remote) => remote.storagePoolDefineXml({ xml: "<pool type='dir'/>" }),
    python: `c.storagePoolDefineXML("<pool type='dir'/>")`,
    look: "strip(c.storagePoolLookupByName(n).XMLDesc())",
  },
];

export const volumeMakings: readonly ComparedCall<string>[] = [
  ...[qcow2Xml, rawXml].map((xml): ComparedCall<string> => ({
    procedure: "storageVolCreateXml",
    ours: async (remote, name) =>
      remote.storageVolCreateXml({ pool: await localPool(remote), xml: filled(xml, name) }).then(() => null),
    python: `c.storagePoolLookupByName('local').createXML(${inPython(xml)}) and None`,
    look: "sorted(v.XMLDesc() for v in c.storagePoolLookupByName('local').listAllVolumes() if v.name().startswith(n))",
  })),
  {
    procedure: "storageVolCreateXmlFrom",
    ours: async (remote, name) => {
      const pool = await localPool(remote);
      const { vol } = await remote.storageVolLookupByName({ pool, name: `${name}.qcow2` });
      await remote.storageVolCreateXmlFrom({ pool, xml: filled(copyXml, name), clonevol: vol });
    },
    python: `c.storagePoolLookupByName('local').createXMLFrom(${inPython(copyXml)}, c.storagePoolLookupByName('local').storageVolLookupByName(n + '.qcow2'), 0) and None`,
    look: "c.storagePoolLookupByName('local').storageVolLookupByName(n + '-copy.qcow2').XMLDesc()",
  },
];

export const poolChanges: readonly ComparedCall<NonnullStoragePool>[] = [
  effect("storagePoolBuild", (remote, pool) => remote.storagePoolBuild({ pool }), "o.build()", poolLook),
  effect("storagePoolCreate", (remote, pool) => remote.storagePoolCreate({ pool }), "o.create()", poolLook),
  effect("storagePoolCreate", (remote, pool) => remote.storagePoolCreate({ pool }), "o.create()", poolLook),
  effect(
    "storagePoolSetAutostart",
    (remote, pool) => remote.storagePoolSetAutostart({ pool, autostart: 1 }),
    "o.setAutostart(1)",
    poolLook,
  ),
  effect("storagePoolRefresh", (remote, pool) => remote.storagePoolRefresh({ pool }), "o.refresh()", poolLook),
  effect("storagePoolDestroy", (remote, pool) => remote.storagePoolDestroy({ pool }), "o.destroy()", poolLook),
  effect("storagePoolRefresh", (remote, pool) => remote.storagePoolRefresh({ pool }), "o.refresh()", poolLook),
  effect("storagePoolDelete", (remote, pool) => remote.storagePoolDelete({ pool }), "o.delete()", poolLook),
  effect(
    "storagePoolUndefine",
    (remote, pool) => remote.storagePoolUndefine({ pool }),
    "o.undefine()",
    "[p.name() for p in c.listAllStoragePools() if p.name() == n]",
  ),
  effect(
    "storagePoolCreateXml",
    (remote, { name }) => remote.storagePoolCreateXml({ xml: filled(poolXml, name), flags: 1 }),
    `c.storagePoolCreateXML(${inPython(poolXml)}, 1)`,
    "strip(c.storagePoolLookupByName(n).XMLDesc())",
  ),
];

export const volumeChanges: readonly ComparedCall<NonnullStorageVol>[] = [
  {
    procedure: "storageVolUpload",
    ours: (_remote, vol, connection) => upload(connection, vol, "innkeeper ".repeat(60)).then(() => null),
    python: `upload(o, ('innkeeper ' * 60).encode()) and None`,
    look: "o.info()",
  },
  {
    procedure: "storageVolDownload",
    ours: async (_remote, vol, connection) =>
      bytesOf(await connection.stream("storageVolDownload", { vol, offset: 0n, length: 0n })),
    python: "download(o)",
    look: "o.XMLDesc()",
  },
  effect(
    "storageVolResize",
    (remote, vol) => remote.storageVolResize({ vol, capacity: 131_072n }),
    "o.resize(131072)",
    "o.info()",
  ),
  effect(
    "storageVolResize",
    (remote, vol) => remote.storageVolResize({ vol, capacity: 1_024n }),
    "o.resize(1024)",
    "o.info()",
  ),
];

export const volumeRemovals: readonly ComparedCall<NonnullStorageVol>[] = [
  effect(
    "storageVolDelete",
    (remote, vol) => remote.storageVolDelete({ vol }),
    "o.delete()",
    "sorted(v.name() for v in c.storagePoolLookupByName('local').listAllVolumes() if v.name().startswith(n))",
  ),
];

export const poolReads: readonly ComparedCall<NonnullStoragePool>[] = [
  {
    procedure: "storagePoolGetXmlDesc",
    ours: async (remote, pool) => (await remote.storagePoolGetXmlDesc({ pool })).xml,
    python: "o.XMLDesc()",
  },
  {
    procedure: "storagePoolGetInfo",
    ours: async (remote, pool) => {
      const { state, capacity, allocation, available } = await remote.storagePoolGetInfo({ pool });
      return [state, capacity, allocation, available];
    },
    python: "o.info()",
  },
  {
    procedure: "storagePoolLookupByUuid",
    ours: async (remote, { uuid }) => named((await remote.storagePoolLookupByUuid({ uuid })).pool),
    python: "c.storagePoolLookupByUUIDString(o.UUIDString())",
  },
  {
    procedure: "storagePoolGetAutostart",
    ours: async (remote, pool) => (await remote.storagePoolGetAutostart({ pool })).autostart,
    python: "o.autostart()",
  },
  {
    procedure: "storagePoolIsActive",
    ours: async (remote, pool) => (await remote.storagePoolIsActive({ pool })).active,
    python: "o.isActive()",
  },
  {
    procedure: "storagePoolIsPersistent",
    ours: async (remote, pool) => (await remote.storagePoolIsPersistent({ pool })).persistent,
    python: "o.isPersistent()",
  },
  {
    procedure: "storagePoolListAllVolumes",
    ours: async (remote, pool) => (await remote.storagePoolListAllVolumes({ pool, needResults: 1 })).vols.map(volume),
    python: "o.listAllVolumes()",
  },
  {
    procedure: "storageVolLookupByName",
    ours: async (remote, pool) => volume((await remote.storageVolLookupByName({ pool, name: "twin-a.qcow2" })).vol),
    python: "o.storageVolLookupByName('twin-a.qcow2')",
  },
  {
    procedure: "storageVolLookupByName",
    ours: (remote, pool) => remote.storageVolLookupByName({ pool, name: "none" }),
    python: "o.storageVolLookupByName('none')",
  },
];

export const volumeReads: readonly ComparedCall<NonnullStorageVol>[] = [
  {
    procedure: "storageVolGetXmlDesc",
    ours: async (remote, object) => (await remote.storageVolGetXmlDesc({ vol: object })).xml,
    python: "o.XMLDesc()",
  },
  {
    procedure: "storageVolGetInfo",
    ours: async (remote, object) => Object.values(await remote.storageVolGetInfo({ vol: object })),
    python: "o.info()",
  },
  {
    procedure: "storageVolGetInfoFlags",
    ours: async (remote, object) =>
      Object.values(await remote.storageVolGetInfoFlags({ vol: object, flags: VIR_STORAGE_VOL_GET_PHYSICAL })),
    python: "o.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)",
  },
];
