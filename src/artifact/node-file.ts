/**
 * Files as byte sources, and small files read whole. What is named may be anything (a pipe, a device, a link to one):
 * only regular files are opened, none is waited for, and no more is read than was asked for.
 */
import { type BigIntStats, close, constants, fstat, open, read, stat, type Stats } from "node:fs";
import { promisify } from "node:util";
import { ArtifactError } from "../errors.ts";
import type { ByteSource } from "./artifact.ts";
import { checkRange } from "./byte-source.ts";

const openFd = promisify(open) as (path: string, flags: number) => Promise<number>;
const statPath = promisify(stat) as (path: string) => Promise<Stats>;
const statFd = promisify(fstat) as (fd: number) => Promise<Stats>;
const exactStat = promisify(fstat) as (fd: number, options: { readonly bigint: true }) => Promise<BigIntStats>;
const closeFd = promisify(close);

/** Opening a pipe would wait for its other end, in a thread that not even the process's end stops (Windows has no flag). */
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

async function openRegular(path: string): Promise<{ readonly fd: number; readonly size: number }> {
  const named = await statPath(path).catch((cause: unknown) => {
    throw new ArtifactError(`can't open ${path}: ${reason(cause)}`, { cause });
  });
  requireFile(path, named);
  const fd = await openFd(path, FLAGS).catch((cause: unknown) => {
    throw new ArtifactError(`can't open ${path}: ${reason(cause)}`, { cause });
  });
  try {
    // What stands there may be another by now.
    const opened = await statFd(fd);
    requireFile(path, opened);
    return { fd, size: opened.size };
  } catch (error) {
    await closeFd(fd);
    throw error;
  }
}

function requireFile(path: string, info: Stats): void {
  if (info.isFile()) return;
  throw new ArtifactError(`${path} is not a regular file${info.isDirectory() ? " but a folder" : ""}`);
}

/**
 * Opens a file for reading; its descriptor stays open until `close()`.
 * @throws ArtifactError where it can't be opened or is not a regular file.
 */
export async function fileSource(path: string): Promise<ByteSource> {
  const { fd, size } = await openRegular(path);
  const opened = await exactStat(fd, { bigint: true });
  let closed: Promise<void> | undefined;
  return {
    name: path,
    size,
    fd,
    identity: [opened.dev, opened.ino, opened.size, opened.mtimeNs, opened.ctimeNs].join(":"),
    async read(offset, length) {
      checkRange(path, size, offset, length);
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length;) {
        const count = await readFd(fd, bytes, done, offset + done);
        if (count === 0) throw new ArtifactError(`${path}: it became shorter while it was read`);
        done += count;
      }
      return bytes;
    },
    async checkUnchanged() {
      const now = await exactStat(fd, { bigint: true });
      if (now.size === opened.size && now.mtimeNs === opened.mtimeNs) return;
      const how = now.size === opened.size ? "it was written to" : `it had ${opened.size} bytes and has ${now.size}`;
      throw new ArtifactError(`${path} changed while it was read: ${how}; try again when it is whole`);
    },
    close: () => (closed ??= closeFd(fd)),
  };
}

/**
 * All of a file that shall be small.
 * @throws ArtifactError where it can't be read, is not a regular file, or has more than `most` bytes.
 */
export async function readSmallFile(path: string, most: number): Promise<Uint8Array> {
  const { fd, size } = await openRegular(path);
  try {
    if (size > most) throw new ArtifactError(`${path} has ${size} bytes, expected ${most} at most`);
    const parts: Uint8Array[] = [];
    // Some files of the system say 0 and hold more.
    for (let total = 0, chunk = Math.max(size, 4096); ; chunk = 65_536) {
      const bytes = new Uint8Array(chunk);
      const count = await readFd(fd, bytes, 0, total).catch((cause: unknown) => {
        throw new ArtifactError(`can't read ${path}: ${reason(cause)}`, { cause });
      });
      if (count === 0)
        return parts.length === 1 && parts[0] !== undefined ? parts[0] : new Uint8Array(Buffer.concat(parts));
      total += count;
      if (total > most) throw new ArtifactError(`${path} has more than ${most} bytes`);
      parts.push(bytes.subarray(0, count));
    }
  } finally {
    await closeFd(fd);
  }
}

/** The same as text, or undefined where there is no such file or it is none of ours. */
export async function readNote(path: string, most = 1 << 20): Promise<string | undefined> {
  return readSmallFile(path, most).then(
    (bytes) => new TextDecoder().decode(bytes),
    () => undefined,
  );
}

/** At most 1 GiB in a call, as some systems can't do more than 2. */
function readFd(fd: number, bytes: Uint8Array, start: number, position: number): Promise<number> {
  const length = Math.min(bytes.byteLength - start, 2 ** 30);
  return new Promise((resolve, reject) => {
    read(fd, bytes, start, length, position, (error, count) => (error ? reject(error) : resolve(count)));
  });
}

/** What the operating system said, in words. */
export function reason(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = "code" in cause ? cause.code : undefined;
  switch (code) {
    case "ENOENT":
      return "no such file or folder";
    case "EACCES":
    case "EPERM":
      return "permission denied";
    case "EISDIR":
      return "it is a folder";
    case "ENOTDIR":
      return "a part of its path is not a folder";
    case "ENOSPC":
    case "EDQUOT":
      return "no space left";
    case "EROFS":
      return "the file system is read-only";
    case "ELOOP":
      return "its links go round in circles";
    case "ENAMETOOLONG":
      return "the name is too long";
    case "EMFILE":
    case "ENFILE":
      return "too many files are open";
    default:
      return cause.message;
  }
}
