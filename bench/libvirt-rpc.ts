/**
 * The libvirt client against python3-libvirt (C underneath), on one daemon with 1,000 test domains, turn by turn:
 *   node bench/libvirt-rpc.ts [rounds]
 * Prints the median of each and the ratio of rates; above 1 this client is faster. Who makes one call after another waits
 * for the daemon, whoever asks: those rows show what the client adds, the others what it saves.
 * Needs root, libvirtd, python3-libvirt.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { connect } from "@innkeeper/libvirt";
import { startDaemon } from "@innkeeper/libvirt/testing/daemon.ts";
import { median, printRow, timed, verdict } from "./measure.ts";
import type { Connection } from "@innkeeper/libvirt";

const DOMAINS = 1_000;
const CALLS = 5_000;
/** Each domain's XML so many times: long enough that a pause of the machine does not decide. */
const PASSES = 3;
const rounds = Number(process.argv[2] ?? 5);

/** Milliseconds per task, in Python: the same work by the same number of calls. */
const PYTHON = `
import json, sys, time, libvirt
c = libvirt.open(sys.argv[1])
doms = c.listAllDomains()
def timed(f):
    t = time.perf_counter(); f(); return (time.perf_counter() - t) * 1000
print(json.dumps({
  "calls": timed(lambda: [c.getLibVersion() for _ in range(${CALLS})]),
  "callsPipelined": timed(lambda: [c.getLibVersion() for _ in range(${CALLS})]),
  "list": timed(lambda: [c.listAllDomains() for _ in range(10)]),
  "stats": timed(lambda: [c.getAllDomainStats() for _ in range(10)]),
  "xml": timed(lambda: [d.XMLDesc() for _ in range(${PASSES}) for d in doms]),
  "xmlPipelined": timed(lambda: [d.XMLDesc() for _ in range(${PASSES}) for d in doms]),
}))
`;

async function repeat(count: number, call: () => Promise<unknown>): Promise<void> {
  for (let index = 0; index < count; index += 1) await call();
}

async function ours(connection: Connection): Promise<Record<string, number>> {
  const { remote } = connection;
  const { domains } = await remote.connectListAllDomains({ needResults: 1 });
  return {
    calls: await timed(() => repeat(CALLS, () => remote.connectGetLibVersion())),
    callsPipelined: await timed(() => Promise.all(Array.from({ length: CALLS }, () => remote.connectGetLibVersion()))),
    list: await timed(() => repeat(10, () => remote.connectListAllDomains({ needResults: 1 }))),
    stats: await timed(() => repeat(10, () => remote.connectGetAllDomainStats({ doms: [], stats: 0 }))),
    xml: await timed(() =>
      repeat(PASSES, async () => {
        for (const dom of domains) await remote.domainGetXmlDesc({ dom });
      }),
    ),
    xmlPipelined: await timed(() =>
      repeat(PASSES, () => Promise.all(domains.map((dom) => remote.domainGetXmlDesc({ dom })))),
    ),
  };
}

async function theirs(socket: string): Promise<Record<string, number>> {
  const { stdout } = await promisify(execFile)("/usr/bin/python3", [
    "-c",
    PYTHON,
    `test+unix:///default?socket=${socket}`,
  ]);
  return JSON.parse(stdout) as Record<string, number>;
}

const TASKS: Readonly<Record<string, string>> = {
  calls: `${CALLS} calls, one after another`,
  callsPipelined: `${CALLS} calls, all at once here`,
  list: `10 lists of ${DOMAINS} domains`,
  stats: `10 bulk statistics of ${DOMAINS} domains`,
  xml: `${PASSES} × XML of ${DOMAINS} domains, one after another`,
  xmlPipelined: `${PASSES} × XML of ${DOMAINS} domains, all at once here`,
};

const daemon = await startDaemon();
try {
  await using connection = await connect(`test:///default?socket=${daemon.socket}`);
  for (let index = 1; index < DOMAINS; index += 1) {
    const devices = `<disk type="file"><source file="/images/${index}.qcow2"/><target dev="vda"/></disk><interface type="network"><source network="default"/></interface>`;
    const xml = `<domain type="test"><name>guest-${index}</name><memory>1048576</memory><vcpu>2</vcpu><os><type>hvm</type></os><devices>${devices}</devices></domain>`;
    const { dom } = await connection.remote.domainDefineXml({ xml });
    await connection.remote.domainCreate({ dom });
  }
  await ours(connection);
  const results: { ours: Record<string, number>; theirs: Record<string, number> }[] = [];
  for (let round = 0; round < rounds; round += 1)
    results.push({ ours: await ours(connection), theirs: await theirs(daemon.socket) });
  const widths = [46, 11, 11, 7, 13];
  printRow([`medians of ${rounds} rounds`, "here", "python", "rate", "wanted"], widths);
  for (const [task, text] of Object.entries(TASKS)) {
    const [hereMs, pythonMs] = (["ours", "theirs"] as const).map((who) =>
      median(results.map((round) => round[who][task] ?? Number.NaN)),
    );
    const rate = (pythonMs ?? Number.NaN) / (hereMs ?? Number.NaN);
    const times = [hereMs, pythonMs].map((ms) => `${ms?.toFixed(1)} ms`);
    printRow([text, ...times, `${rate.toFixed(2)}×`, verdict(rate, "≥ 1.2")], widths);
  }
} finally {
  await daemon.stop();
}
