/** Byte sources without a file: memory. (`node-file.ts` has files.) */
import { ArtifactError } from "../errors.ts";
import type { ByteSource } from "./artifact.ts";

/** A source of bytes that are in memory already; `read` gives views, not copies. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    read: async (offset, length) => {
      checkRange(name, bytes.byteLength, offset, length);
      return bytes.subarray(offset, offset + length);
    },
    close: async () => undefined,
  };
}

/** Throws ArtifactError where a range isn't inside a source. */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= size) return;
  throw new ArtifactError(`${name}: bytes ${offset} to ${offset + length} were asked for, the file has ${size}`);
}
