/**
 * Whether a key file is the store's own: the store keeps a word that only its key seals. A store without that word is
 * judged by the secrets that it has.
 */
import type { SecretBox } from "#core/secret-box.ts";
import { hostCredentialContext, hostCredentialSpace } from "#management/reconcile/host-credential.ts";
import type { Store } from "#store/port.ts";

export const keyCheckSpace = "secret-box";
const keyCheckKey = "check";
const word = "innkeeper";

export async function checkKey(store: Store, box: SecretBox): Promise<boolean> {
  const { check, credential } = await readSealed(store);
  if (typeof check === "string") return opens(box, check, keyCheckSpace);
  if (credential === undefined || typeof credential.value !== "string") return true;
  return opens(box, credential.value, hostCredentialContext(credential.key));
}

/** Whether there is anything that a new key could not open. */
export async function hasSecrets(store: Store): Promise<boolean> {
  const { check, credential } = await readSealed(store);
  return check !== undefined || credential !== undefined;
}

export async function rememberKey(store: Store, box: SecretBox): Promise<void> {
  await store.transaction(async (transaction) => {
    if ((await transaction.getPrivate(keyCheckSpace, keyCheckKey)) !== undefined) return;
    await transaction.putPrivate(keyCheckSpace, keyCheckKey, box.seal(word, keyCheckSpace));
  });
}

/** Whether the key opens what was read of a store; undefined if nothing there tells. */
export function sealedWith(
  {
    privates,
  }: { readonly privates: readonly { readonly space: string; readonly key: string; readonly value: unknown }[] },
  box: SecretBox,
): boolean | undefined {
  const check = privates.find(({ space, key }) => space === keyCheckSpace && key === keyCheckKey);
  if (typeof check?.value === "string") return opens(box, check.value, keyCheckSpace);
  const credential = privates.find(({ space }) => space === hostCredentialSpace);
  if (typeof credential?.value !== "string") return undefined;
  return opens(box, credential.value, hostCredentialContext(credential.key));
}

async function readSealed(store: Store) {
  return store.transaction(async (transaction) => {
    const check = await transaction.getPrivate(keyCheckSpace, keyCheckKey);
    const [credential] = await transaction.listPrivate(hostCredentialSpace);
    return { check, credential };
  });
}

function opens(box: SecretBox, sealed: string, context: string): boolean {
  try {
    box.open(sealed, context);
    return true;
  } catch {
    return false;
  }
}
