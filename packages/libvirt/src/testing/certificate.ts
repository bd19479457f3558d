// Certificates for tests, made with openssl: a CA, and certificates signed by it.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface CertificateFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export class Authority {
  readonly #folder: string;

  constructor(folder: string, name: string) {
    this.#folder = join(folder, name);
    mkdirSync(this.#folder, { recursive: true });
    writeFileSync(
      this.#path("ca.cnf"),
      "[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=Test CA\n[ext]\nbasicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n",
    );
    this.#openssl(
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-days",
      "2",
      "-config",
      this.#path("ca.cnf"),
      "-keyout",
      this.#path("ca.key"),
      "-out",
      this.#path("ca.pem"),
    );
  }

  /** @param names subject alternative names such as "IP:127.0.0.1"; none for a client. */
  issue(commonName: string, names: readonly string[], usage: "serverAuth" | "clientAuth"): CertificateFiles {
    const at = (suffix: string): string => this.#path(`${commonName}.${suffix}`);
    const alternative = names.length === 0 ? "" : `subjectAltName=${names.join(",")}\n`;
    writeFileSync(
      at("ext"),
      `basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=${usage}\n${alternative}`,
    );
    this.#openssl(
      "req",
      "-new",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-subj",
      `/O=Innkeeper/CN=${commonName}`,
      "-keyout",
      at("key"),
      "-out",
      at("csr"),
    );
    this.#openssl(
      "x509",
      "-req",
      "-in",
      at("csr"),
      "-CA",
      this.#path("ca.pem"),
      "-CAkey",
      this.#path("ca.key"),
      "-CAcreateserial",
      "-days",
      "2",
      "-extfile",
      at("ext"),
      "-out",
      at("pem"),
    );
    return { ca: this.#path("ca.pem"), cert: at("pem"), key: at("key") };
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  #openssl(...args: string[]): void {
    execFileSync("openssl", args, { stdio: "pipe" });
  }
}

export function readPem({ ca, cert, key }: CertificateFiles): { ca: string; cert: string; key: string } {
  return { ca: readFileSync(ca, "utf8"), cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
}
