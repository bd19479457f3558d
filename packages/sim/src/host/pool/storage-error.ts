// Errors of the storage driver, and its words before those of a failed system call (virReportSystemError).
import { VIR_ERR_SYSTEM_ERROR, VIR_FROM_STORAGE } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { FileError } from "#host/file/file-error.ts";

export function storageError(code: number, detail: string): SimError {
  return new SimError(code, VIR_FROM_STORAGE, detail);
}

/** Runs what touches files; a call that fails there is libvirt's system error. */
export function withFiles<T>(words: string, work: () => T, domain: number = VIR_FROM_STORAGE): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof FileError ? systemError(words, error, domain) : error;
  }
}

export function systemError(words: string, error: FileError, domain: number = VIR_FROM_STORAGE): SimError {
  return new SimError(VIR_ERR_SYSTEM_ERROR, domain, `${words}: ${error.message}`, error.errno);
}
