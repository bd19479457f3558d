/**
 * The list of all VMs with name, power state and host, from Innkeeper and from vcsim, VMware's simulator of vCenter, which
 * hold the same number of VMs, turn by turn in one run; and what each process has resident:
 *   node bench/vcsim.ts [VMs] [rounds]
 * vcsim is built of Debian's sources: apt-get install golang-go golang-github-vmware-govmomi-dev. Each is asked over HTTP
 * on the loopback by a client in its own language (vcsim's by govmomi's, as `govc` does), which reads all of the answer; the
 * time is the client's. Innkeeper holds a stored fleet and asks no hosts meanwhile: vcsim has none. Its answers are kept
 * until something changes: so that each is made anew, states of some VMs change all the time.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { startInventoryServer, storeNewFleet } from "./inventory-process.ts";
import { median, printRow, residentMegabytes, timed, verdict } from "./measure.ts";

const vms = Number(process.argv[2] ?? 20_000);
const rounds = Number(process.argv[3] ?? 10);
const vmsPerHost = 20;
const hosts = Math.ceil(vms / vmsPerHost);
/** vcsim's clusters; each pool of one has so many VMs. */
const clusters = 10;
const churnPerSecond = 50;
const widths = [40, 14, 14, 10, 14];

async function build(folder: string): Promise<string> {
  const program = path.join(folder, "vcsim");
  const source = path.join(import.meta.dirname, "vcsim/main.go");
  const env = { ...process.env, GO111MODULE: "off", GOPATH: "/usr/share/gocode", GOCACHE: path.join(folder, "cache") };
  const child = spawn("go", ["build", "-o", program, source], { stdio: "inherit", env });
  const [code] = (await once(child, "exit").catch(() => [undefined])) as [number | undefined];
  if (code === 0) return program;
  throw new Error("vcsim was not built: apt-get install golang-go golang-github-vmware-govmomi-dev");
}

interface Vcsim extends AsyncDisposable {
  readonly pid: number;
  /** Milliseconds of one list, measured by its client. */
  list(): Promise<number>;
}

async function startVcsim(program: string, folder: string): Promise<Vcsim> {
  const counts = [clusters, Math.ceil(hosts / clusters), Math.ceil(vms / clusters)].map(String);
  // It keeps files of each VM.
  const env = { ...process.env, TMPDIR: folder };
  const server = spawn(program, ["serve", ...counts], { stdio: ["pipe", "pipe", "inherit"], env });
  const exited = once(server, "exit");
  const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
  const { value: address } = await lines.next();
  if (address === undefined) throw new Error("vcsim ended");
  const client = spawn(program, ["list", address], { stdio: ["pipe", "pipe", "inherit"] });
  const answers = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
  return {
    pid: server.pid ?? 0,
    async list() {
      client.stdin.write("\n");
      const { value } = await answers.next();
      const answer = JSON.parse(value ?? "{}") as { ms: number; vms: number };
      if (answer.vms !== vms) throw new Error(`vcsim listed ${answer.vms} VMs`);
      return answer.ms;
    },
    async [Symbol.asyncDispose]() {
      client.stdin.end();
      server.stdin.end();
      await exited;
    },
  };
}

interface Listed {
  readonly items: readonly { readonly name: string; readonly state: string; readonly hostId: string }[];
  readonly nextCursor?: string;
}

/** All pages, one after the other. */
async function listOurs({ url, token }: { readonly url: string; readonly token: string }): Promise<void> {
  const headers = { authorization: `Bearer ${token}`, "accept-encoding": "zstd, gzip" };
  let count = 0;
  for (let cursor: string | undefined = ""; cursor !== undefined;) {
    const query: string = cursor === "" ? "" : `&cursor=${cursor}`;
    const response = await fetch(`${url}/api/v1/vms?limit=20000&fields=name,state,hostId${query}`, { headers });
    const page = (await response.json()) as Listed;
    count += page.items.filter(({ name, state, hostId }) => name !== "" && state !== "" && hostId !== "").length;
    cursor = page.nextCursor;
  }
  if (count !== vms) throw new Error(`Innkeeper listed ${count} VMs`);
}

const ms = (value: number): string => `${value.toFixed(1)} ms`;

const folder = await mkdtemp(path.join(tmpdir(), "inn-bench-"));
try {
  const program = await build(folder);
  const state = path.join(folder, "state");
  await mkdir(state);
  await storeNewFleet(state, hosts, vms);
  await using ours = await startInventoryServer(state);
  await using theirs = await startVcsim(program, folder);
  ours.churn(churnPerSecond);
  const times = { ours: [] as number[], theirs: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    times.ours.push(await timed(() => listOurs(ours)));
    times.theirs.push(await theirs.list());
  }
  printRow([`${vms} VMs on ${hosts} hosts`, "Innkeeper", "vcsim", "ratio", "wanted"], widths);
  const row = (title: string, our: number, their: number, show: (value: number) => string): void =>
    printRow([title, show(our), show(their), (our / their).toFixed(3), verdict(our / their, "< 1")], widths);
  row("list of all, first time", times.ours[0] ?? Number.NaN, times.theirs[0] ?? Number.NaN, ms);
  row("list of all, median of the others", median(times.ours.slice(1)), median(times.theirs.slice(1)), ms);
  const [our, their] = [await residentMegabytes(ours.pid), await residentMegabytes(theirs.pid)];
  row("resident", our, their, (value) => `${value.toFixed(0)} MB`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
