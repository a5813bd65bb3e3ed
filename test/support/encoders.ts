/**
 * The fixtures of encoders (made by recipes/fixtures/encoders.py; their weights come from a seed): one span of tokens that see
 * each other, and what transformers made of it.
 */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { ModelArtifact } from "../../src/artifact/artifact.ts";
import { memorySource } from "../../src/artifact/byte-source.ts";
import { hfArtifact } from "../../src/artifact/hf-artifact.ts";
import { readSafetensors } from "../../src/artifact/safetensors.ts";
import { seededSafetensors, type SeededTensor } from "./seeded.ts";

const FOLDER = path.join(import.meta.dirname, "../fixtures/encoders");

export interface EncoderCase {
  readonly artifact: ModelArtifact;
  /** Token ids, which carry the segment where the model knows segments. */
  readonly tokens: readonly number[];
  /** The positions whose rows are recorded, and those rows `[positions, width]`. */
  readonly positions: readonly number[];
  readonly hidden: Float32Array;
  /** Of the first row, where the model has such heads. */
  readonly pooled: readonly number[] | undefined;
  readonly scores: readonly number[] | undefined;
}

interface Recorded extends Omit<EncoderCase, "artifact" | "hidden"> {
  readonly transformers: string;
  readonly dtype: "F16" | "BF16";
  readonly types?: readonly number[];
  readonly tensors: Readonly<Record<string, SeededTensor>>;
}

export function encoderFamilies(): string[] {
  return readdirSync(FOLDER).toSorted();
}

/** A fixture's files: the config as text, the checkpoint as the bytes of a safetensors file. */
export function encoderFiles(name: string): { readonly config: string; readonly weights: Uint8Array } {
  const folder = path.join(FOLDER, name);
  const { dtype, tensors } = JSON.parse(readFileSync(path.join(folder, "case.json"), "utf8")) as Recorded;
  return {
    config: readFileSync(path.join(folder, "config.json"), "utf8"),
    weights: seededSafetensors(name, dtype, tensors),
  };
}

export async function openEncoderCase(name: string): Promise<EncoderCase> {
  const folder = path.join(FOLDER, name);
  const { config, weights } = encoderFiles(name);
  const recorded = JSON.parse(readFileSync(path.join(folder, "case.json"), "utf8")) as Recorded;
  const file = await readSafetensors(memorySource(`${name}/model.safetensors`, weights));
  const artifact = hfArtifact(name, { "config.json": config, "tokenizer.json": "{}" }, [file]);
  const bytes = readFileSync(path.join(folder, "hidden.f32"));
  const hidden = Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
  const size = Number(artifact.config.values["vocab_size"]);
  const tokens = recorded.tokens.map((token, i) => token + size * (recorded.types?.[i] ?? 0));
  const { positions, pooled, scores } = recorded;
  return { artifact, tokens, positions, hidden, pooled, scores };
}
