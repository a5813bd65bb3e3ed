/** Files as byte sources. */
import { close, fstat, open, read, type Stats } from "node:fs";
import { promisify } from "node:util";
import { ArtifactError } from "../errors.ts";
import type { ByteSource } from "./artifact.ts";
import { checkRange } from "./byte-source.ts";

const openFd = promisify(open) as (path: string, flags: string) => Promise<number>;
const statFd = promisify(fstat) as (fd: number) => Promise<Stats>;
const closeFd = promisify(close);

/**
 * Opens a file for reading; its descriptor stays open until `close()`.
 * @throws ArtifactError where it can't be opened or is no regular file.
 */
export async function fileSource(path: string): Promise<ByteSource> {
  const fd = await openFd(path, "r").catch((cause: unknown) => {
    throw new ArtifactError(`can't open ${path}: ${reason(cause)}`, { cause });
  });
  const stat = await statFd(fd);
  if (!stat.isFile()) {
    await closeFd(fd);
    throw new ArtifactError(`${path} is no regular file`);
  }
  const { size } = stat;
  let closed: Promise<void> | undefined;
  return {
    name: path,
    size,
    fd,
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
    close: () => (closed ??= closeFd(fd)),
  };
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
    default:
      return cause.message;
  }
}
