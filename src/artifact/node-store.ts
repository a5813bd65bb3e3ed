/**
 * A folder as a store of intermediate results (the interface is in `compress/store.ts`): each entry is a file, which appears
 * under its name only when it is whole, so that a run that was killed finds what it had finished. Names are encoded: a
 * tensor may be called anything. Files are opened for a read at a time: there are as many as a model has tensors.
 */
import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";

import { ArtifactError } from "../errors.ts";
import type { ByteSource } from "./artifact.ts";
import { checkRange } from "./byte-source.ts";
import { writeWhole } from "./node-whole-file.ts";

export class FolderStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  within(name: string): FolderStore {
    return new FolderStore(join(this.#folder, encodeURIComponent(name)));
  }

  async find(name: string): Promise<ByteSource | undefined> {
    const path = this.#path(name);
    const info = await stat(path).catch(() => undefined);
    return info?.isFile() === true ? sourceOf(path, info.size) : undefined;
  }

  async write(name: string, chunks: AsyncIterable<Uint8Array>): Promise<ByteSource> {
    const path = this.#path(name);
    await mkdir(this.#folder, { recursive: true });
    // Intermediate results: after a power cut they are computed again.
    const size = await writeWhole(path, chunks, { sync: false });
    return sourceOf(path, size);
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Removes all stores within this one but the named: those of other runs. */
  async removeOthers(keep: string): Promise<void> {
    for (const name of await readdir(this.#folder).catch(() => [])) {
      if (name !== encodeURIComponent(keep)) await rm(join(this.#folder, name), { recursive: true, force: true });
    }
  }

  #path(name: string): string {
    return join(this.#folder, `${encodeURIComponent(name)}.bin`);
  }
}

function sourceOf(path: string, size: number): ByteSource {
  return {
    name: path,
    size,
    async read(offset, length) {
      checkRange(path, size, offset, length);
      const bytes = new Uint8Array(length);
      const file = await open(path, "r");
      try {
        for (let done = 0; done < length;) {
          const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
          if (bytesRead === 0) throw new ArtifactError(`${path}: it became shorter while it was read`);
          done += bytesRead;
        }
      } finally {
        await file.close();
      }
      return bytes;
    },
    close: async () => undefined,
  };
}
