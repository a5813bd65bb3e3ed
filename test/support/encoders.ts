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
import type { Backend, StepResult } from "../../src/backend/contract.ts";
import { ProgramRunner } from "../../src/backend/program-runner.ts";
import { modelGraph } from "../../src/models/models.ts";
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

export interface EncoderResult {
  /** The largest difference of a number of any output; what is not a number is as wrong as can be. */
  readonly difference: number;
  readonly compared: number;
  /** Did the outputs have the same bits between two other texts in the step? */
  readonly same: boolean;
}

/** Runs a case with F32 KV, alone and in a batch. */
export async function runEncoder(backend: Backend, encoderCase: EncoderCase): Promise<EncoderResult> {
  const { artifact, tokens, positions, hidden, pooled, scores } = encoderCase;
  const { graph } = await modelGraph(artifact, { context: tokens.length });
  const outputs = [...graph.outputs.keys()];
  const options = { kv: "f32", context: tokens.length, sequences: 3, outputs } as const;
  const runner = await ProgramRunner.create(backend, artifact, graph, options);
  try {
    const wanted: Record<string, readonly number[]> = { hidden: positions };
    const expected: Record<string, ArrayLike<number>> = { hidden };
    for (const [name, row] of Object.entries({ pooled, scores })) {
      if (row === undefined) continue;
      wanted[name] = [0];
      expected[name] = row;
    }
    const values = (result: StepResult): Float32Array[] =>
      Object.keys(wanted).map((name) => result.outputs[outputs.indexOf(name)] ?? new Float32Array(0));
    const alone = values(await runner.step([{ sequence: 0, tokens, span: true }], { named: wanted }));
    const gaps = Object.values(expected).flatMap((row, i) =>
      Array.from(row, (x, c) => Math.abs((alone[i]?.[c] ?? NaN) - x)),
    );

    runner.restart();
    const before = tokens.slice(0, 70);
    const feeds = [before, tokens, tokens.slice(30, 61)].map((list, sequence) => ({
      sequence,
      tokens: list,
      span: true,
    }));
    const moved = Object.entries(wanted).map(([name, rows]) => [name, rows.map((row) => row + before.length)]);
    const beside = values(await runner.step(feeds, { named: Object.fromEntries(moved) as typeof wanted }));
    const same = alone.every((row, i) => row.length > 0 && row.every((x, c) => Object.is(x, beside[i]?.[c])));
    const difference = Math.max(...gaps.map((gap) => (Number.isNaN(gap) ? Infinity : gap)));
    return { difference, compared: gaps.length, same };
  } finally {
    await runner.close();
  }
}
