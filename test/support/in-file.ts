/** Models from memory as files, for tests of what is done only with those. */
import assert from "node:assert/strict";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import type { ModelArtifact, Tensor } from "../../src/artifact/artifact.ts";
import { fileSource } from "../../src/artifact/node-file.ts";

/** The artifact's tensors in one file, so that they have a descriptor. */
export async function inFile(
  t: TestContext,
  artifact: ModelArtifact,
): Promise<{ file: string; artifact: ModelArtifact }> {
  const folder = await mkdtemp(path.join(tmpdir(), "millrace-upload-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = path.join(folder, "weights.bin");
  const handle = await open(file, "w");
  const offsets = new Map<string, number>();
  let offset = 0;
  for (const tensor of artifact.tensors.values()) {
    await handle.write(await tensor.source.read(tensor.offset, tensor.byteLength), 0, tensor.byteLength, offset);
    offsets.set(tensor.name, offset);
    offset += tensor.byteLength;
  }
  await handle.close();
  const source = await fileSource(file);
  t.after(() => source.close());
  assert.notEqual(source.fd, undefined);
  const tensors = [...artifact.tensors.values()].map((tensor): [string, Tensor] => [
    tensor.name,
    { ...tensor, source, offset: offsets.get(tensor.name) ?? 0 },
  ]);
  return { file, artifact: { ...artifact, tensors: new Map(tensors) } };
}
