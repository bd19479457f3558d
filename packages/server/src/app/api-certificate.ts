/**
 * The certificate of the API, of the built-in authority or of files that are given. Invariants: there is one from the
 * start on; it is renewed before it expires, when this machine has a new name or address, and when the files change; one
 * that can't be used never replaces one that works. `<state>/tls/trust.pem` is what clients on this machine trust.
 */
import { X509Certificate } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { Clock } from "#core/clock.ts";
import { readFileIfPresent, replaceFile } from "#core/durable-file.ts";
import type { Logger } from "#core/log.ts";
import {
  builtInCertificate,
  type CertificateSource,
  fileCertificate,
  type ServedCertificate,
} from "./certificate-source.ts";
import type { ServerConfig } from "./config.ts";

interface ApiCertificateDeps {
  readonly config: Pick<ServerConfig, "stateFolder" | "listenAddress" | "tls">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How often files, names and expiry are looked at. */
const lookMs = 60_000;
const warnMs = 14 * 86_400_000;

export class ApiCertificate implements AsyncDisposable {
  readonly #deps: ApiCertificateDeps;
  readonly #source: CertificateSource;
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;
  #present: ServedCertificate;
  #looking: Promise<void> = Promise.resolve();
  #serve: (certificate: ServedCertificate) => void = () => undefined;

  private constructor(deps: ApiCertificateDeps, source: CertificateSource, first: ServedCertificate) {
    this.#deps = deps;
    this.#source = source;
    this.#present = first;
    this.#watching = this.#watch();
  }

  /** undefined: TLS is off. ConfigError or CertificateAuthorityError names what can't be used. */
  static async open(deps: ApiCertificateDeps): Promise<ApiCertificate | undefined> {
    const source = sourceOf(deps);
    if (source === undefined) return undefined;
    const first = await source.read(deps.clock.now());
    await keepTrust(deps.config.stateFolder, first.trustPem);
    warnOfEnd(deps, first);
    return new ApiCertificate(deps, source, first);
  }

  get present(): ServedCertificate {
    return this.#present;
  }

  /** SHA-256 of what a client pins: the built-in authority's certificate, which outlives those it issues, or the given one. */
  get fingerprint(): string {
    return new X509Certificate(this.#present.trustPem).fingerprint256;
  }

  /** Who serves with it is told of each new one. */
  onChange(serve: (certificate: ServedCertificate) => void): void {
    this.#serve = serve;
  }

  /** Looks at files, names and expiry now. */
  reload(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#watching;
    await this.#looking;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#deps.clock.sleep(lookMs, signal).catch(() => undefined);
      if (!signal.aborted) await this.reload();
    }
  }

  async #look(): Promise<void> {
    const { log, clock, config } = this.#deps;
    try {
      if (!(await this.#source.hasChanged(this.#present, clock.now()))) return;
      const next = await this.#source.read(clock.now());
      this.#serve(next);
      this.#present = next;
      await keepTrust(config.stateFolder, next.trustPem);
      const { validTo, fingerprint256 } = new X509Certificate(next.cert);
      log.info({ validTo, fingerprint: fingerprint256 }, "the API has a new certificate");
      warnOfEnd(this.#deps, next);
    } catch (error) {
      log.error({ err: error }, "the API's new certificate can't be used; the present one stays");
    }
  }
}

function sourceOf({ config }: ApiCertificateDeps): CertificateSource | undefined {
  const { tls, stateFolder, listenAddress } = config;
  if (tls.kind === "off") return undefined;
  if (tls.kind === "files") return fileCertificate(tls.cert, tls.key);
  return builtInCertificate({ stateFolder, listenAddress, names: tls.names });
}

function warnOfEnd({ clock, log }: ApiCertificateDeps, { cert }: ServedCertificate): void {
  const { validToDate, validTo } = new X509Certificate(cert);
  const leftMs = validToDate.getTime() - clock.now();
  if (leftMs > warnMs) return;
  log.warn({ validTo }, `the API's certificate ${leftMs < 0 ? "has expired" : "expires soon"}; replace its files`);
}

async function keepTrust(stateFolder: string, trustPem: string): Promise<void> {
  const folder = path.join(stateFolder, "tls");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = path.join(folder, "trust.pem");
  if ((await readFileIfPresent(file)) !== trustPem) await replaceFile(file, trustPem, 0o644);
}
