/**
 * Starts and stops the control plane as a whole. Started means: the store is open, the API answers, and unless another
 * process that shares the store leads, hosts are being connected and unfinished tasks go on. Stopped means: nothing of it is left in the process, and
 * unfinished tasks are in the store as they were.
 */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { hostname } from "node:os";
import { type Clock, timestamp } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import { pinoLogger } from "#core/pino-logger.ts";
import { stateLayout } from "#core/state-layout.ts";
import { systemClock } from "#core/system-clock.ts";
import { AccessControl } from "#management/access/access.ts";
import { Audit } from "#management/access/audit.ts";
import { AuditLog } from "#management/access/audit-log.ts";
import { CredentialTable } from "#management/access/credential-table.ts";
import { LoginLimit } from "#management/access/login-limit.ts";
import { UserService } from "#management/access/user-service.ts";
import { BackupService } from "#management/backup/backup-service.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import { ListViews } from "#management/inventory/list-view.ts";
import type { TaskEngine } from "#management/task/engine.ts";
import { restServer, serveCertificate } from "#rest/rest-server.ts";
import type { RestServices } from "#rest/service.ts";
import type { Leadership } from "#store/port.ts";
import { defaultTakeoverMs } from "#store/postgres/address.ts";
import { ApiCertificate } from "./api-certificate.ts";
import { ConfigError, type ServerConfig } from "./config.ts";
import { growHeapWith } from "./heap.ts";
import { LeaderRole } from "./leader-role.ts";
import { Plane } from "./plane.ts";
import { openState } from "./state/open.ts";
import { readVersion } from "./version.ts";
import { wire as wireDrivers } from "./wire.ts";
import type { Wire, WireBase, Wiring } from "./wiring.ts";

export interface RunningServer extends AsyncDisposable {
  readonly url: string;
  /** Of the first administrator, when it was made just now and at random. It is stored nowhere. */
  readonly firstPassword?: string;
  /** SHA-256 of the certificate that clients may pin; absent without TLS. */
  readonly fingerprint?: string;
  /** Reads anew what may change while it runs: the certificate. */
  reload(): Promise<void>;
  close(): Promise<void>;
}

interface StartOptions {
  readonly log?: Logger;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Of what the control plane is made; default: the drivers of app/wire.ts. */
  readonly wire?: Wire;
}

export async function startServer(config: ServerConfig, options: StartOptions = {}): Promise<RunningServer> {
  const log = options.log ?? pinoLogger(config.logLevel);
  const clock = options.clock ?? systemClock;
  // Everything that was started is ended in reverse, also when the start fails half-way.
  await using begun = new AsyncDisposableStack();
  await mkdir(config.stateFolder, { recursive: true, mode: 0o700 }).catch(refuse(`--state ${config.stateFolder}`));
  const { store, secretBox, leadership } = begun.use(await openState(config.stateFolder, { ...config, clock, log }));
  const inventory = begun.use(await Inventory.open(store));
  begun.use(growHeapWith(inventory));
  const credentials = await CredentialTable.open(store, clock);
  const access = new AccessControl(inventory, credentials);
  const users = new UserService({ store, inventory, credentials, access, loginLimit: new LoginLimit(clock), clock });
  const firstPassword = await firstAdministrator(config, users, leadership);
  const stop = new AbortController();
  const version = await readVersion();
  const base = { config, store, inventory, secretBox, clock, log };
  const backup = new BackupService({ ...base, stateFolder: config.stateFolder, version });
  const certificate = begun.use(await ApiCertificate.open({ config, clock, log }));
  const auditFolder = stateLayout(config.stateFolder).audit;
  await mkdir(auditFolder, { recursive: true, mode: 0o700 });
  const audit = begun.use(new Audit({ store, clock, log, trail: begun.use(new AuditLog(auditFolder)) }));
  const wire = options.wire ?? wireDrivers;
  const makePlane = (): Plane => new Plane({ ...base, wire, credentials, backup });
  const { takeoverMs = defaultTakeoverMs } = config;
  const role = begun.use(new LeaderRole({ store, leadership, takeoverMs, makePlane, secretBox, clock, log }));
  const probe = (): Promise<unknown> => (role.isLeader ? store.probe() : store.revision());
  const storeName = leadership === undefined ? "sqlite" : "postgres";
  const system = { version, startedAt: timestamp(clock), storeName, probe: async () => void (await probe()) };
  const leading = leadership === undefined ? {} : { leading: role };
  const lists = begun.use(new ListViews(inventory));
  const common = { inventory, lists, access, users, audit, backup, system, clock, log, stop: stop.signal, ...leading };
  const services = servicesOf(role, common);
  const rest = await restServer(services, {
    ...(certificate === undefined ? {} : { tls: certificate.present }),
    trustProxy: config.trustProxy === true,
  });
  begun.defer(async () => {
    stop.abort();
    await rest.close();
  });
  await role.begin();
  const { listenAddress: host, listenPort: port } = config;
  const url = await rest.listen({ host, port }).catch(refuse(`--listen ${host}:${port}`));
  const advertise = (): void =>
    leadership?.advertise({
      url: config.advertisedUrl ?? reachableUrl(url),
      ...(certificate === undefined ? {} : { trustPem: certificate.present.trustPem }),
    });
  advertise();
  certificate?.onChange((next) => {
    serveCertificate(rest, next);
    advertise();
  });
  log.info({ url, version, revision: inventory.revision, leads: role.isLeader, pid: process.pid }, "started");
  const isFirstStart = firstPassword !== undefined && !config.resetAdmin;
  // To the other processes of a shared store this machine is another.
  if (leadership === undefined && (config.local ?? isFirstStart)) await addThisMachine(base, role.plane.tasks);
  const running = begun.move();
  const close = async (): Promise<void> => {
    await running.disposeAsync();
    log.info({}, "stopped");
  };
  return {
    url,
    ...(firstPassword === undefined || config.adminPassword !== undefined ? {} : { firstPassword }),
    ...(certificate === undefined ? {} : { fingerprint: certificate.fingerprint }),
    reload: async () => certificate?.reload(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A process that does not lead makes none: the one that does has. */
async function firstAdministrator(
  { resetAdmin, adminPassword }: ServerConfig,
  users: UserService,
  leadership: Leadership | undefined,
): Promise<string | undefined> {
  const mayWrite = leadership === undefined || leadership.term !== undefined;
  if (resetAdmin && !mayWrite) {
    throw new ConfigError("--reset-admin: another process leads; stop it first, or say this there");
  }
  if (resetAdmin) return users.resetAdministrator(adminPassword);
  return mayWrite ? users.createFirstAdministrator(adminPassword) : undefined;
}

/** Those of the plane that is there now. */
function servicesOf(role: LeaderRole, common: Omit<RestServices, "tasks" | keyof Wiring>): () => RestServices {
  const known = new WeakMap<Plane, RestServices>();
  return () => {
    const { plane } = role;
    const services = known.get(plane) ?? { ...plane.wiring, ...common, tasks: plane.tasks };
    known.set(plane, services);
    return services;
  };
}

/** By this machine's name where every address is listened on. */
function reachableUrl(url: string): string {
  const reachable = new URL(url);
  if (["0.0.0.0", "[::]"].includes(reachable.hostname)) reachable.hostname = hostname();
  return reachable.origin;
}

/** What the operating system refuses, under the flag that asked for it. */
function refuse(flag: string): (error: unknown) => never {
  return (error) => {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    throw new ConfigError(`${flag}: ${reason[code] ?? String(error)}`, { cause: error });
  };
}

const reason: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there; is Innkeeper running already?",
  EADDRNOTAVAIL: "this machine has no such address",
  EACCES: "this user may not; try as root",
  EPERM: "this user may not; try as root",
  EROFS: "the file system is read-only",
  ENOSPC: "no space is left on the file system",
  ENOTDIR: "a part of the path is no folder",
  EEXIST: "it is no folder",
};

/** Sockets of libvirt's one daemon and of its QEMU daemon: libvirt 9.0 src/rpc/virnetsocket.c, remote_sockets.c */
const localSockets = ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"];
const localUri = "qemu:///system";

/** The machine's own libvirtd as a host, once; what becomes of it is in the task. */
async function addThisMachine(
  { inventory, log }: Pick<WireBase, "inventory" | "log">,
  tasks: TaskEngine,
): Promise<void> {
  if (inventory.list("host").some((host) => host.uri === localUri)) return;
  if (!localSockets.some((socket) => existsSync(socket))) {
    log.warn({}, "this machine has no libvirtd that runs; add hosts with `inn host add`");
    return;
  }
  await tasks
    .submit("host.add", { request: { uri: localUri } }, { userName: "system" })
    .catch((error: unknown) => log.warn({ err: error }, "this machine's libvirtd was not added"));
}
