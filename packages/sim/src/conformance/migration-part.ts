// Migration between two hosts: what is refused, the five phases that a client leads, and their events on both sides.
import * as lv from "@innkeeper/libvirt";
import type { NonnullDomain } from "@innkeeper/libvirt";
import type { ConformancePart, Transcript } from "./transcript.ts";

const NAME = "moving";
const XML = `<domain type='qemu'><name>${NAME}</name><uuid>5c4bd1c4-52f8-4f2e-9d0b-0d6bb3a0f6a1</uuid>
<memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><memballoon model='none'/></devices></domain>`;
const FLAGS = lv.VIR_MIGRATE_LIVE | lv.VIR_MIGRATE_PERSIST_DEST | lv.VIR_MIGRATE_UNDEFINE_SOURCE;
const NONE = new Uint8Array();

export const migrationPart: ConformancePart = {
  name: "migration",
  run: async (here, there) => {
    for (const t of [here, there]) {
      const { events } = t.connection;
      await t.listen(events.domain("lifecycle"), ({ event, detail }) => `lifecycle ${event} ${detail}`);
    }
    const { dom } = await here.connection.remote.domainDefineXml({ xml: XML });
    await whileOff(here, dom);
    await here.connection.remote.domainCreateWithFlags({ dom, flags: 0 });
    await here.events("started", 3);
    await limits(here, dom);
    await refusals(here, there, dom);
    await cancelled(here, there, dom);
    await moved(here, there, dom);
  },
};

async function whileOff(t: Transcript, dom: NonnullDomain): Promise<void> {
  const { remote } = t.connection;
  await t.call("begin while off", remote.domainMigrateBegin3Params({ dom, params: {}, flags: FLAGS }));
  await t.call("speed while off", remote.domainMigrateGetMaxSpeed({ dom, flags: 0 }));
  await t.call("set speed while off", remote.domainMigrateSetMaxSpeed({ dom, bandwidth: 40n, flags: 0 }));
  await t.call("speed now", remote.domainMigrateGetMaxSpeed({ dom, flags: 0 }));
  await t.call("pause while off", remote.domainMigrateGetMaxDowntime({ dom, flags: 0 }));
  await t.call("set pause while off", remote.domainMigrateSetMaxDowntime({ dom, downtime: 100n, flags: 0 }));
  await t.call("post-copy while off", remote.domainMigrateStartPostCopy({ dom, flags: 0 }));
  await t.call("job while off", remote.domainGetJobStats({ dom, flags: 0 }));
}

async function limits(t: Transcript, dom: NonnullDomain): Promise<void> {
  const { remote } = t.connection;
  await t.call("speed", remote.domainMigrateGetMaxSpeed({ dom, flags: 0 }));
  await t.call("set speed", remote.domainMigrateSetMaxSpeed({ dom, bandwidth: 400n, flags: 0 }));
  const bandwidth = 8_796_093_022_208n;
  await t.call("too much speed", remote.domainMigrateSetMaxSpeed({ dom, bandwidth, flags: 0 }));
  await t.call("speed that is kept", remote.domainMigrateGetMaxSpeed({ dom, flags: 0 }));
  await t.call("pause", remote.domainMigrateGetMaxDowntime({ dom, flags: 0 }));
  await t.call("set pause", remote.domainMigrateSetMaxDowntime({ dom, downtime: 500n, flags: 0 }));
  await t.call("pause that is kept", remote.domainMigrateGetMaxDowntime({ dom, flags: 0 }));
  await t.call("post-copy of nothing", remote.domainMigrateStartPostCopy({ dom, flags: 0 }));
  await t.call("no completed job", remote.domainGetJobStats({ dom, flags: lv.VIR_DOMAIN_JOB_STATS_COMPLETED }));
}

async function refusals(here: Transcript, there: Transcript, dom: NonnullDomain): Promise<void> {
  const { remote } = there.connection;
  const prepare = (label: string, params: Record<string, string>) =>
    there.call(label, remote.domainMigratePrepare3Params({ params, cookieIn: NONE, flags: FLAGS }), () => "");
  await prepare("prepare nothing", { destination_name: NAME });
  await prepare("prepare a network", { destination_name: NAME, destination_xml: "<network/>" });
  const params = { destination_name: NAME };
  await there.call(
    "finish nobody",
    remote.domainMigrateFinish3Params({ params, cookieIn: NONE, flags: FLAGS, cancelled: 0 }),
  );
  await there.call(
    "cancel nobody",
    remote.domainMigrateFinish3Params({ params, cookieIn: NONE, flags: FLAGS, cancelled: 1 }),
  );
  const off = { dom, params: {}, flags: FLAGS | lv.VIR_MIGRATE_OFFLINE };
  await here.call("running guest offline", here.connection.remote.domainMigrateBegin3Params(off), () => "");
}

/** Begin, prepare, perform: the guest stands still here and waits there. Returns the cookie for the end. */
async function sent(here: Transcript, there: Transcript, dom: NonnullDomain): Promise<Uint8Array> {
  const { remote } = here.connection;
  const begun = await remote.domainMigrateBegin3Params({ dom, params: {}, flags: FLAGS });
  const named = { destination_name: NAME, destination_xml: begun.xml, migrate_uri: "tcp:127.0.0.1" };
  const ready = await there.connection.remote.domainMigratePrepare3Params({
    params: named,
    cookieIn: begun.cookieOut,
    flags: FLAGS,
  });
  there.lines.push(`address: ${ready.uriOut}`);
  await there.events("prepared", 1);
  await there.call("state there", there.connection.remote.domainGetState({ dom }));
  await there.call("not persistent there", there.connection.remote.domainIsPersistent({ dom }));
  const params = { destination_name: NAME, migrate_uri: ready.uriOut ?? "" };
  const cookieIn = ready.cookieOut;
  const { cookieOut } = await remote.domainMigratePerform3Params({
    dom,
    dconnuri: null,
    params,
    cookieIn,
    flags: FLAGS,
  });
  await here.events("sent", 1);
  await here.call("state here", remote.domainGetState({ dom }));
  return cookieOut;
}

async function cancelled(here: Transcript, there: Transcript, dom: NonnullDomain): Promise<void> {
  const { remote } = here.connection;
  const cookieIn = await sent(here, there, dom);
  const params = { destination_name: NAME };
  const end = { params, cookieIn, flags: FLAGS, cancelled: 1 };
  await there.call("cancel there", there.connection.remote.domainMigrateFinish3Params(end));
  await there.events("cancelled there", 1);
  await there.call("gone there", there.connection.remote.domainLookupByName({ name: NAME }));
  const confirm = { dom, params: {}, cookieIn: NONE, flags: FLAGS, cancelled: 1 };
  await here.call("cancel here", remote.domainMigrateConfirm3Params(confirm));
  await here.events("cancelled here", 1);
  await here.call("state when cancelled", remote.domainGetState({ dom }));
}

async function moved(here: Transcript, there: Transcript, dom: NonnullDomain): Promise<void> {
  const cookieIn = await sent(here, there, dom);
  const params = { destination_name: NAME };
  const end = { params, cookieIn, flags: FLAGS, cancelled: 0 };
  const finished = await there.connection.remote.domainMigrateFinish3Params(end);
  await there.events("arrived", 2);
  await there.call("state when arrived", there.connection.remote.domainGetState({ dom }));
  await there.call("persistent there", there.connection.remote.domainIsPersistent({ dom }));
  const confirm = { dom, params: {}, cookieIn: finished.cookieOut, flags: FLAGS, cancelled: 0 };
  await here.call("confirm", here.connection.remote.domainMigrateConfirm3Params(confirm));
  await here.events("left", 1);
  await here.call("gone here", here.connection.remote.domainLookupByName({ name: NAME }));
  await there.call("destroy", there.connection.remote.domainDestroy({ dom }));
  await there.call("undefine", there.connection.remote.domainUndefine({ dom }));
  await there.events("ended", 3);
}
