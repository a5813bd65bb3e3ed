/** Writes a model as Hugging Face's folders have it: weights in safetensors, config.json, and the side files of the original. */
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { MetaObject } from "./artifact.ts";
import { writeWhole } from "./node-whole-file.ts";
import type { RawTensor } from "./safetensors.ts";
import { safetensorsBytes } from "./safetensors-writer.ts";

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
  readonly entries: readonly RawTensor[];
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
  await writeWhole(join(folder, "model.safetensors"), safetensorsBytes(entries, metadata));
}
