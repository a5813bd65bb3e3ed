/** Files that appear under their names only when they are whole: whoever is killed meanwhile leaves none that is cut. */
import { randomUUID } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";

export interface WholeFileOptions {
  /** Wait until the disk has it, so that a power cut can't take it back. Default true. */
  readonly sync?: boolean;
}

/** Writes the chunks one after another; gives the file's bytes. */
export async function writeWhole(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  { sync = true }: WholeFileOptions = {},
): Promise<number> {
  const unfinished = `${path}.${randomUUID()}.part`;
  const file = await open(unfinished, "wx");
  let size = 0;
  try {
    for await (const chunk of chunks) {
      for (let done = 0; done < chunk.byteLength;) done += (await file.write(chunk, done)).bytesWritten;
      size += chunk.byteLength;
    }
    if (sync) await file.sync();
    await file.close();
    await rename(unfinished, path);
    return size;
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(unfinished, { force: true });
    throw error;
  }
}
