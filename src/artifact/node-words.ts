/** Files of 32-bit words on disk, read where they are needed: what a datastore for drafting is searched by. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { open } from "node:fs/promises";

import { ArtifactError } from "../errors.ts";

export interface WordFile {
  /** Words. */
  readonly length: number;
  /** Words from index `first` on, little-endian. */
  read(first: number, count: number): Int32Array;
  close(): void;
}

/** @throws ArtifactError where there is no such file. */
export function openWords(path: string): WordFile {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    throw new ArtifactError(`can't open ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return {
    length: fstatSync(file).size / 4,
    read(first, count) {
      const words = new Int32Array(count);
      const bytes = readSync(file, words, 0, 4 * count, 4 * first);
      if (bytes < 4 * count)
        throw new ArtifactError(`${path} has become shorter: words ${first} to ${first + count} are missing`);
      return words;
    },
    close: () => closeSync(file),
  };
}

export async function writeWords(path: string, parts: readonly Int32Array[]): Promise<void> {
  const file = await open(path, "w");
  try {
    for (const part of parts) await file.writeFile(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  } finally {
    await file.close();
  }
}
