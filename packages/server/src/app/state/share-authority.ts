/**
 * The certificate authority of a shared store: hosts trust one, so every process that may come to lead has the same. It is
 * kept in the store, sealed by the key file, which is the one thing that is copied by hand to a new process.
 */
import { mkdir } from "node:fs/promises";
import { AppError } from "#core/app-error.ts";
import { CertificateAuthority } from "#core/certificate-authority.ts";
import { createFile, readFileIfPresent } from "#core/durable-file.ts";
import type { SecretBox } from "#core/secret-box.ts";
import type { OpenStore } from "./store-location.ts";

const space = "authority";
const key = "built-in";

export async function shareAuthority(
  { store, leadership }: OpenStore,
  secretBox: SecretBox,
  folder: string,
): Promise<void> {
  const sealed = await store.transaction((transaction) => transaction.getPrivate(space, key));
  const file = CertificateAuthority.file(folder);
  if (typeof sealed === "string") return adopt(secretBox.open(sealed, space), folder, file);
  if (leadership?.term === undefined) {
    throw new AppError(
      "store_unavailable",
      "The process that leads has not put its certificate authority in the store yet.",
      {
        remedy: "Start this one again in a moment.",
      },
    );
  }
  await CertificateAuthority.open(folder);
  const pem = await readFileIfPresent(file);
  await store.transaction((transaction) => transaction.putPrivate(space, key, secretBox.seal(pem ?? "", space)));
}

async function adopt(pem: string, folder: string, file: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const present = (await createFile(file, pem, 0o600)) ? pem : await readFileIfPresent(file);
  if (present === pem) return;
  throw new AppError("store_unavailable", `The certificate authority ${file} is not the one of the shared store.`, {
    remedy: `Hosts trust that of the store: move the folder ${folder} away, and it is made anew from the store.`,
    retryable: false,
  });
}
