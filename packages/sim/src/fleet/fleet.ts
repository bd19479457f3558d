// A fleet of simulated hosts in this process: built from its declaration, listening where clients can reach it, and going
// wrong where it is told to.
import { mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import type { Server, Socket } from "node:net";
import { powerOff, powerOn } from "#host/power.ts";
import { SharedStorage } from "#host/file/shared-storage.ts";
import { SimHost } from "#host/sim-host.ts";
import { procedureTable } from "#procedure/table.ts";
import { SimDaemon } from "#rpc/daemon.ts";
import { matches } from "#fault/rule.ts";
import type { Clock } from "#host/clock.ts";
import type { DomainTiming } from "#host/domain/domains.ts";
import type { FaultRule } from "#fault/rule.ts";
import type { FleetDeclaration } from "./declaration.ts";
import { Templates, populate } from "./populate.ts";
import { Wire } from "./wire.ts";

/** As long as real guests need. */
const TIMING: DomainTiming = { startMs: 250, bootMs: 12_000, shutdownMs: 4_000 };
const NFS_BYTES = 200e12;

export interface FleetHost {
  readonly name: string;
  readonly cluster: string;
  readonly host: SimHost;
  readonly daemon: SimDaemon;
  /** Where it listens; empty until it does. */
  readonly uris: string[];
}

export interface TlsFiles {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

export class Fleet implements AsyncDisposable {
  readonly hosts: readonly FleetHost[];
  readonly wire = new Wire();
  readonly #servers: Server[] = [];
  readonly #sockets: string[] = [];
  #rules: readonly FaultRule[];

  constructor(declaration: FleetDeclaration, clock: Clock, timing: DomainTiming = TIMING) {
    const templates = new Templates(declaration.vmShapes);
    const hosts: FleetHost[] = [];
    for (const cluster of declaration.clusters) {
      const shared = new SharedStorage({ defaultBytes: NFS_BYTES });
      const digits = String(cluster.hostCount).length;
      for (let index = 1; index <= cluster.hostCount; index += 1) {
        const name = `${cluster.name}h${String(index).padStart(digits, "0")}`;
        const { seed, load } = declaration;
        const peers = this.wire.peersOf(name, cluster.node.migrationMiBps * 1_048_576);
        const host = new SimHost({ name, clock, seed, shared, load, timing, node: cluster.node, peers });
        this.wire.add(host);
        populate(host, cluster.name, cluster.vmsPerHost, declaration, templates);
        hosts.push({ name, cluster: cluster.name, host, daemon: new SimDaemon(host, procedureTable), uris: [] });
      }
    }
    this.hosts = hosts;
    this.#rules = [];
    this.setFaults(declaration.faults);
  }

  /** A unix socket a host, FOLDER/NAME.sock. */
  async listenUnix(folder: string): Promise<void> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const each of this.hosts) {
      const path = join(folder, `${each.name}.sock`);
      rmSync(path, { force: true });
      await this.#listen(
        createServer((socket) => accept(each, socket)),
        { path },
      );
      this.#sockets.push(path);
      this.wire.listens(each.host, path);
      each.uris.push(`qemu+unix:///system?socket=${path}`);
    }
  }

  /** An address of this machine a host: on Linux all of 127.0.0.0/8 is its own. TLS when there are certificates. */
  async listenTcp(firstAddress: string, port: number, tls?: TlsFiles): Promise<void> {
    const first = addressNumber(firstAddress);
    for (const [index, each] of this.hosts.entries()) {
      const address = addressText(first + index);
      const server =
        tls === undefined
          ? createServer((socket) => accept(each, socket))
          : createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: true }, (socket) =>
              acceptTls(each, socket),
            );
      server.on("tlsClientError", () => undefined);
      await this.#listen(server, { host: address, port });
      this.wire.listens(each.host, address);
      const isUsual = port === (tls === undefined ? 16_509 : 16_514);
      each.uris.push(`qemu+${tls === undefined ? "tcp" : "tls"}://${address}${isUsual ? "" : `:${port}`}/system`);
    }
  }

  find(name: string): FleetHost {
    const found = this.hosts.find((each) => each.name === name);
    if (found === undefined) throw new Error(`there is no host ${name}`);
    return found;
  }

  /** Hosts by name, with * for any text. */
  matching(pattern: string): FleetHost[] {
    const found = this.hosts.filter(({ name }) => matches(pattern, name));
    if (found.length === 0) throw new Error(`no host is named ${pattern}`);
    return found;
  }

  get faults(): readonly FaultRule[] {
    return this.#rules;
  }

  setFaults(rules: readonly FaultRule[]): void {
    this.#rules = rules;
    for (const { host } of this.hosts) host.faults.setRules(rules);
  }

  powerOff({ host, daemon }: FleetHost): void {
    powerOff(host);
    daemon.drop();
    this.wire.checkWays();
  }

  async powerOn({ host }: FleetHost): Promise<void> {
    await powerOn(host);
  }

  /** The host's cable is out: its guests run on, nobody hears of them. */
  isolate({ host }: FleetHost, isIsolated: boolean): void {
    host.faults.isIsolated = isIsolated;
    this.wire.checkWays();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { daemon } of this.hosts) daemon.drop();
    await Promise.all(this.#servers.map((server) => server[Symbol.asyncDispose]()));
    for (const path of this.#sockets) rmSync(path, { force: true });
  }

  async #listen(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen(where, () => resolve());
    await promise;
    server.off("error", reject);
    this.#servers.push(server);
  }
}

function accept({ daemon }: FleetHost, socket: Socket): void {
  socket.setNoDelay(true);
  daemon.accept(socket);
}

/** The daemon says by one byte that it takes the client's certificate (virNetServerClientCheckAccess in libvirt 9.0). */
function acceptTls(host: FleetHost, socket: Socket): void {
  socket.write(Buffer.from([1]));
  accept(host, socket);
}

function addressNumber(address: string): number {
  const parts = address.split(".").map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255))
    throw new Error(`${address} is no IPv4 address`);
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

function addressText(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
}
