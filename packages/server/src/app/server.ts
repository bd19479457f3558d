/**
 * Starts and stops the control plane as a whole. Started means: the store is open and this process's alone, hosts are
 * being connected, unfinished tasks go on, the API answers. Stopped means: nothing of it is left in the process, and
 * unfinished tasks are in the store as they were.
 */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { AppError } from "#core/app-error.ts";
import { timestamp } from "#core/clock.ts";
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
import { AutomaticBackup } from "#management/backup/automatic-backup.ts";
import { BackupService } from "#management/backup/backup-service.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import { ListViews } from "#management/inventory/list-view.ts";
import { ImageRecordKeeper } from "#management/recover/image-record-keeper.ts";
import { ClaimTable } from "#management/task/claim-table.ts";
import { TaskEngine } from "#management/task/engine.ts";
import { restServer, serveCertificate } from "#rest/rest-server.ts";
import { ApiCertificate } from "./api-certificate.ts";
import { ConfigError, type ServerConfig } from "./config.ts";
import { crashPoint } from "./crash-point.ts";
import { Maintenance } from "./maintenance.ts";
import { openState } from "./state/open.ts";
import { readVersion } from "./version.ts";
import { wire as wireDrivers } from "./wire.ts";
import type { Wire, WireBase } from "./wiring.ts";

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
  /** Of what the control plane is made; default: the drivers of app/wire.ts. */
  readonly wire?: Wire;
}

export async function startServer(config: ServerConfig, options: StartOptions = {}): Promise<RunningServer> {
  const log = options.log ?? pinoLogger(config.logLevel);
  const clock = systemClock;
  // Everything that was started is ended in reverse, also when the start fails half-way.
  await using begun = new AsyncDisposableStack();
  await mkdir(config.stateFolder, { recursive: true, mode: 0o700 }).catch(refuse(`--state ${config.stateFolder}`));
  const { store, secretBox, leadership } = begun.use(await openState(config.stateFolder, { ...config, clock, log }));
  if (leadership !== undefined && leadership.term === undefined) {
    throw new AppError("store_unavailable", "Another Innkeeper serves this store; nothing was changed.");
  }
  const inventory = begun.use(await Inventory.open(store));
  const claims = new ClaimTable();
  const base: WireBase = { config, store, inventory, secretBox, claims, clock, log };
  const wiring = begun.use((options.wire ?? wireDrivers)(base));
  const { operations } = wiring;
  const onStepBoundary = config.crashAt === undefined ? {} : { onStepBoundary: crashPoint(config.crashAt) };
  const tasks = new TaskEngine({ ...base, operations, ...onStepBoundary });
  begun.defer(() => tasks.stop());
  const credentials = await CredentialTable.open(store, clock);
  const access = new AccessControl(inventory, credentials);
  const users = new UserService({ store, inventory, credentials, access, loginLimit: new LoginLimit(clock), clock });
  const firstPassword = config.resetAdmin
    ? await users.resetAdministrator(config.adminPassword)
    : await users.createFirstAdministrator(config.adminPassword);
  const stop = new AbortController();
  const version = await readVersion();
  const backup = new BackupService({ ...base, stateFolder: config.stateFolder, version });
  const certificate = begun.use(await ApiCertificate.open({ config, clock, log }));
  const auditFolder = stateLayout(config.stateFolder).audit;
  await mkdir(auditFolder, { recursive: true, mode: 0o700 });
  const audit = begun.use(new Audit({ store, clock, log, trail: begun.use(new AuditLog(auditFolder)) }));
  const rest = await restServer(
    {
      ...wiring,
      inventory,
      lists: begun.use(new ListViews(inventory)),
      tasks,
      access,
      users,
      audit,
      backup,
      system: {
        version,
        startedAt: timestamp(clock),
        storeName: config.store === undefined ? "sqlite" : "postgres",
        probe: () => store.probe(),
      },
      clock,
      log,
      stop: stop.signal,
    },
    {
      ...(certificate === undefined ? {} : { tls: certificate.present }),
      trustProxy: config.trustProxy === true,
    },
  );
  certificate?.onChange((next) => serveCertificate(rest, next));
  begun.defer(async () => {
    stop.abort();
    await rest.close();
  });
  begun.use(new ImageRecordKeeper({ inventory, providers: wiring.providers, log }));
  await wiring.start();
  const resumed = await tasks.resume();
  const { listenAddress: host, listenPort: port } = config;
  const url = await rest.listen({ host, port }).catch(refuse(`--listen ${host}:${port}`));
  const automatic = config.backup && new AutomaticBackup({ ...base, backup }, config.backup);
  begun.use(new Maintenance({ store, credentials, tasks, clock, log, ...(automatic && { backup: automatic }) }));
  log.info({ url, version, revision: inventory.revision, resumedTasks: resumed, pid: process.pid }, "started");
  const isFirstStart = firstPassword !== undefined && !config.resetAdmin;
  if (config.local ?? isFirstStart) await addThisMachine(base, tasks);
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
async function addThisMachine({ inventory, log }: WireBase, tasks: TaskEngine): Promise<void> {
  if (inventory.list("host").some((host) => host.uri === localUri)) return;
  if (!localSockets.some((socket) => existsSync(socket))) {
    log.warn({}, "this machine has no libvirtd that runs; add hosts with `inn host add`");
    return;
  }
  await tasks
    .submit("host.add", { request: { uri: localUri } }, { userName: "system" })
    .catch((error: unknown) => log.warn({ err: error }, "this machine's libvirtd was not added"));
}
