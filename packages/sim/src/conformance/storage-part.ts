// Pools and volumes, from their definition to their end, and their content.
import { randomBytes } from "node:crypto";
import { Hole, type NonnullStoragePool, type NonnullStorageVol } from "@innkeeper/libvirt";
import type { ConformancePart, Transcript } from "./transcript.ts";

const poolXml = (name: string, path: string): string =>
  `<pool type='dir'><name>${name}</name><target><path>${path}</path></target></pool>`;
const volumeXml = (name: string, capacity: string, format: string, more = ""): string =>
  `<volume><name>${name}</name>${capacity}<target><format type='${format}'/></target>${more}</volume>`;
const mib = (count: number): string => `<capacity unit='MiB'>${count}</capacity>`;
const below = (path: string): string => `<backingStore><path>${path}</path><format type='qcow2'/></backingStore>`;
const thin = "<allocation>0</allocation>";

const absentPool: NonnullStoragePool = { name: "none", uuid: "11111111-2222-4333-8444-555555555555" };
const absentVolume: NonnullStorageVol = { pool: "p", name: "none", key: "/none" };

/** Definitions that are refused, and in what words. */
const BAD: Readonly<Record<string, string>> = {
  "no target": "<pool type='dir'><name>x</name></pool>",
  "no name": "<pool type='dir'><target><path>/x</path></target></pool>",
  "no type": "<pool><name>x</name></pool>",
  "unknown type": "<pool type='what'><name>x</name></pool>",
  "lacking backend": "<pool type='zfs'><name>x</name><source><name>tank</name></source></pool>",
  "not a pool": "<volume/>",
  "slash in the name": poolXml("a/b", "/x"),
  "no server": "<pool type='netfs'><name>x</name><target><path>/x</path></target></pool>",
  "bad uuid": "<pool type='dir'><name>x</name><uuid>no</uuid><target><path>/x</path></target></pool>",
  "bad mode":
    "<pool type='dir'><name>x</name><target><path>/x</path><permissions><mode>99</mode></permissions></target></pool>",
};

/** What is the machine's own: room on the disk, and when. */
const neutral = (xml: string): string =>
  xml
    .replaceAll(/<([acm]time)>[\d.]+</gu, "<$1>N<")
    .replaceAll(
      /(<(?:capacity|allocation|available) unit='bytes'>)\d+(?=<[^>]*>\s*(?:<(?:allocation|available)[^>]*>\d+<[^>]*>\s*)*<source>)/gu,
      "$1N",
    );

const xmlOf = ({ xml }: { readonly xml: string }): string => neutral(xml);

export const storagePart: ConformancePart = {
  name: "storage",
  run: async (transcript) => {
    const { events } = transcript.connection;
    await transcript.listen(events.storagePool("lifecycle"), ({ pool, event }) => `${pool.name} ${event}`);
    await transcript.listen(events.storagePool("refresh"), ({ pool }) => `${pool.name} refreshed`);
    const pool = await pools(transcript);
    await volumes(transcript, pool);
    await copies(transcript, pool);
    await content(transcript, pool);
    await ends(transcript, pool);
  },
};

async function pools(t: Transcript): Promise<NonnullStoragePool> {
  const { remote } = t.connection;
  for (const [label, xml] of Object.entries(BAD)) await t.call(label, remote.storagePoolDefineXml({ xml }));
  for (const type of ["dir", "what", "zfs"])
    await t.call(`sources of ${type}`, remote.connectFindStoragePoolSources({ type, srcSpec: null, flags: 0 }));
  await t.call("lookup", remote.storagePoolLookupByName({ name: "none" }));
  await t.call("lookup by uuid", remote.storagePoolLookupByUuid({ uuid: absentPool.uuid }));
  await t.call("lookup by path", remote.storagePoolLookupByTargetPath({ path: "/none//x/" }));
  await t.call("of none", remote.storagePoolGetInfo({ pool: absentPool }));
  const xml = poolXml("p", `${t.folder}//p/`);
  await t.call("define", remote.storagePoolDefineXml({ xml }));
  const { pool } = await remote.storagePoolLookupByName({ name: "p" });
  await t.call("its XML", remote.storagePoolGetXmlDesc({ pool }), xmlOf);
  await t.call("start without a folder", remote.storagePoolCreate({ pool }));
  await t.call("refresh while off", remote.storagePoolRefresh({ pool }));
  await t.call("volumes while off", remote.storagePoolListAllVolumes({ pool, needResults: 1 }));
  await t.call("build", remote.storagePoolBuild({ pool }));
  await t.call("start", remote.storagePoolCreate({ pool }));
  await t.call("start again", remote.storagePoolCreate({ pool }));
  await t.call("build while on", remote.storagePoolBuild({ pool }));
  await t.call("undefine while on", remote.storagePoolUndefine({ pool }));
  await t.call("delete while on", remote.storagePoolDelete({ pool }));
  await t.call("autostart", remote.storagePoolSetAutostart({ pool, autostart: 1 }));
  await t.call("autostart is", remote.storagePoolGetAutostart({ pool }));
  await t.call("XML while on", remote.storagePoolGetXmlDesc({ pool }), xmlOf);
  await t.call("state", remote.storagePoolGetInfo({ pool }), ({ state }) => state);
  await t.call("another UUID", remote.storagePoolDefineXml({ xml: poolXml("p", "/elsewhere") }));
  await t.call("another name", remote.storagePoolDefineXml({ xml: poolXml("q", `${t.folder}/p`) }));
  await t.call("transient on the same", remote.storagePoolCreateXml({ xml: poolXml("q", `${t.folder}/p`) }));
  await t.call("transient nowhere", remote.storagePoolCreateXml({ xml: poolXml("q", `${t.folder}/none`) }));
  await t.call("transient", remote.storagePoolCreateXml({ xml: poolXml("q", `${t.folder}/q`), flags: 1 }));
  const transient = (await remote.storagePoolLookupByName({ name: "q" })).pool;
  await t.call("its autostart", remote.storagePoolSetAutostart({ pool: transient, autostart: 1 }));
  await t.call("is it persistent", remote.storagePoolIsPersistent({ pool: transient }));
  await t.call("destroy it", remote.storagePoolDestroy({ pool: transient }));
  await t.call("it is gone", remote.storagePoolLookupByName({ name: "q" }));
  await t.call("all", remote.connectListAllStoragePools({ needResults: 1 }));
  await t.call("none off", remote.connectListAllStoragePools({ needResults: 1, flags: 1 }));
  await t.events("events of pools", 5);
  return pool;
}

async function volumes(t: Transcript, pool: NonnullStoragePool): Promise<void> {
  const { remote } = t.connection;
  const make = async (label: string, xml: string, flags = 0): Promise<NonnullStorageVol | undefined> => {
    const made = await t.call(label, remote.storageVolCreateXml({ pool, xml, flags }));
    if (made !== undefined) await t.call(`${label}: XML`, remote.storageVolGetXmlDesc({ vol: made.vol }), xmlOf);
    return made?.vol;
  };
  await t.call("no volume", remote.storageVolLookupByName({ pool, name: "none" }));
  await t.call("no key", remote.storageVolLookupByKey({ key: "/none" }));
  await t.call("no path", remote.storageVolLookupByPath({ path: "/none//" }));
  await t.call("XML of none", remote.storageVolGetXmlDesc({ vol: absentVolume }));
  await make("no name", "<volume><capacity>1</capacity></volume>");
  await make("no capacity", "<volume><name>x</name></volume>");
  await make("bad capacity", "<volume><name>x</name><capacity>many</capacity></volume>");
  await make("bad unit", "<volume><name>x</name><capacity unit='furlong'>1</capacity></volume>");
  await make("bad format", volumeXml("x", mib(1), "nonsense"));
  await make("slash", volumeXml("a/b", mib(1), "raw"));
  const vol = await make("qcow2", volumeXml("a.qcow2", mib(64), "qcow2"));
  await make("again", volumeXml("a.qcow2", mib(64), "qcow2"));
  const raw = await make("raw", volumeXml("b.raw", mib(2), "raw"));
  await make("thin", volumeXml("c.raw", mib(8) + thin, "raw"));
  await make("overlay", volumeXml("o.qcow2", mib(64), "qcow2", below(`${t.folder}/p/a.qcow2`)));
  await make("overlay without size", volumeXml("o2.qcow2", "", "qcow2", below(`${t.folder}/p/a.qcow2`)));
  await make("overlay on none", volumeXml("x.qcow2", mib(1), "qcow2", below("/none")));
  await make("raw overlay", volumeXml("x.raw", mib(1), "raw", below(`${t.folder}/p/a.qcow2`)));
  await make("raw with metadata", volumeXml("x.raw", mib(1), "raw"), 1);
  await make("folder", volumeXml("d", mib(1), "dir"));
  if (vol === undefined || raw === undefined) return;
  for (const flags of [0, 1]) await t.call("its info", remote.storageVolGetInfoFlags({ vol, flags }));
  await t.call("its path", remote.storageVolGetPath({ vol }));
  await t.call("found by path", remote.storageVolLookupByPath({ path: `${t.folder}//p/a.qcow2` }));
  await t.call("grow", remote.storageVolResize({ vol, capacity: 134_217_728n }));
  await t.call("shrink", remote.storageVolResize({ vol, capacity: 67_108_864n }));
  await t.call("below what is allocated", remote.storageVolResize({ vol: raw, capacity: 1_024n, flags: 4 }));
  await t.call("allocated qcow2", remote.storageVolResize({ vol, capacity: 268_435_456n, flags: 1 }));
  await t.call("by more", remote.storageVolResize({ vol: raw, capacity: 1_048_576n, flags: 3 }));
  await t.call("info then", remote.storageVolGetInfo({ vol: raw }));
  await t.call("refresh", remote.storagePoolRefresh({ pool }));
  await t.call("after a look at the storage", remote.storageVolGetXmlDesc({ vol }), xmlOf);
}

async function copies(t: Transcript, pool: NonnullStoragePool): Promise<void> {
  const { remote } = t.connection;
  const { vol: source } = await remote.storageVolLookupByName({ pool, name: "a.qcow2" });
  const copy = (label: string, xml: string, clonevol = source) =>
    t.call(label, remote.storageVolCreateXmlFrom({ pool, xml, clonevol }));
  await copy("copy of none", volumeXml("x", mib(1), "raw"), absentVolume);
  await copy("copy of no pool", volumeXml("x", mib(1), "raw"), { ...absentVolume, pool: "none" });
  await copy("copy", volumeXml("copy.qcow2", mib(1), "qcow2"));
  await copy("copy again", volumeXml("copy.qcow2", mib(1), "qcow2"));
  const { vol } = await remote.storageVolLookupByName({ pool, name: "copy.qcow2" });
  await t.call("its XML", remote.storageVolGetXmlDesc({ vol }), xmlOf);
  await t.call("wipe", remote.storageVolWipe({ vol }));
  await t.call("wipe how", remote.storageVolWipePattern({ vol, algorithm: 77 }));
  await t.call("delete it", remote.storageVolDelete({ vol }));
  await t.call("delete again", remote.storageVolDelete({ vol }));
}

async function content(t: Transcript, pool: NonnullStoragePool): Promise<void> {
  const { remote } = t.connection;
  const { vol } = await remote.storageVolLookupByName({ pool, name: "c.raw" });
  await t.events("events of volumes", 1);
  const bytes = randomBytes(300_000);
  const upload = await t.connection.stream("storageVolUpload", { vol, offset: 0n, length: 0n, flags: 1 });
  const writer = upload.writable.getWriter();
  await writer.write(bytes);
  await writer.write(new Hole(1_000_000n));
  await writer.write(bytes);
  await writer.close();
  await t.events("events of an upload", 1);
  await t.call("its size", remote.storageVolGetInfo({ vol }), ({ capacity }) => capacity);
  const read = async (label: string, offset: bigint, length: bigint): Promise<void> => {
    const { readable } = await t.connection.stream("storageVolDownload", { vol, offset, length });
    const chunks: Uint8Array[] = [];
    for await (const chunk of readable) if (!(chunk instanceof Hole)) chunks.push(chunk);
    const got = Buffer.concat(chunks);
    const isSame =
      offset >= 1_300_000n && got.equals(bytes.subarray(Number(offset) - 1_300_000).subarray(0, got.length));
    t.lines.push(`${label}: ${got.length} bytes ${isSame}`);
  };
  await read("all of it", 0n, 0n);
  await read("its end", 1_300_000n, 0n);
  await read("a part", 1_300_500n, 1_000n);
  await read("beyond its end", 2_000_000n, 10n);
  const tooLong = await t.connection.stream("storageVolUpload", { vol, offset: 0n, length: 10n });
  const failing = tooLong.writable.getWriter();
  await t.call(
    "more than announced",
    failing.write(bytes).then(() => failing.close()),
  );
  await t.events("events of a broken upload", 1);
}

async function ends(t: Transcript, pool: NonnullStoragePool): Promise<void> {
  const { remote } = t.connection;
  const { vol } = await remote.storageVolLookupByName({ pool, name: "b.raw" });
  await t.call("destroy", remote.storagePoolDestroy({ pool }));
  await t.call("destroy again", remote.storagePoolDestroy({ pool }));
  await t.call("volume of a pool that is off", remote.storageVolGetInfo({ vol }));
  await t.call("its folder is not empty", remote.storagePoolDelete({ pool }));
  await t.call("XML while off", remote.storagePoolGetXmlDesc({ pool }), xmlOf);
  await t.call("undefine", remote.storagePoolUndefine({ pool }));
  await t.call("undefine again", remote.storagePoolUndefine({ pool }));
  await t.events("events of the end", 2);
}
