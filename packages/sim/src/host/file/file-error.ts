// What a system call on a file fails with. Those who make such calls for a client put their own words before it.

/** Linux errno (asm-generic/errno-base.h, errno.h) and strerror() of glibc. */
const ERRNO = {
  ENOENT: [2, "No such file or directory"],
  EIO: [5, "Input/output error"],
  EACCES: [13, "Permission denied"],
  EEXIST: [17, "File exists"],
  ENOTDIR: [20, "Not a directory"],
  EISDIR: [21, "Is a directory"],
  EINVAL: [22, "Invalid argument"],
  EFBIG: [27, "File too large"],
  ENOSPC: [28, "No space left on device"],
  EROFS: [30, "Read-only file system"],
  ENOTEMPTY: [39, "Directory not empty"],
} as const;

export type FileErrorName = keyof typeof ERRNO;

export class FileError extends Error {
  override readonly name = "FileError";
  readonly errorName: FileErrorName;
  readonly errno: number;

  constructor(errorName: FileErrorName) {
    const [errno, words] = ERRNO[errorName];
    super(words);
    this.errorName = errorName;
    this.errno = errno;
  }
}
