/** Writes a model as Hugging Face's folders have it: weights in safetensors, config.json, and the side files of the original. */
import { randomUUID } from "node:crypto";
import { copyFile, mkdir, open, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { MetaObject } from "./artifact.ts";
import { safetensorsBytes, type SafetensorsEntry } from "./safetensors-writer.ts";

const SIDE_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "tokenizer.model",
  "tekken.json",
  "special_tokens_map.json",
  "generation_config.json",
  "chat_template.jinja",
];

export interface HfFolder {
  readonly config: MetaObject;
  readonly entries: readonly SafetensorsEntry[];
  /** The free texts of the weights' header. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The folder whose tokenizer and templates are taken. */
  readonly from: string;
}

/** The weights come last, under their name only when they are whole. */
export async function writeHfFolder(folder: string, { config, entries, metadata, from }: HfFolder): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), `${JSON.stringify(config, undefined, 2)}\n`);
  for (const name of SIDE_FILES) await copyFile(join(from, name), join(folder, name)).catch(() => undefined);
  const unfinished = join(folder, `model.${randomUUID()}.part`);
  const file = await open(unfinished, "wx");
  try {
    for await (const chunk of safetensorsBytes(entries, metadata)) {
      for (let done = 0; done < chunk.byteLength;) done += (await file.write(chunk, done)).bytesWritten;
    }
    await file.sync();
    await file.close();
    await rename(unfinished, join(folder, "model.safetensors"));
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(unfinished, { force: true });
    throw error;
  }
}
