/**
 * The parity fixtures (made by recipes/fixtures/make.py; their weights come from a seed) and how a backend is held
 * against them: a whole prefill, token by token, and a prefill of n followed by decodes must all give transformers' logits.
 */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { MetaObject, ModelArtifact } from "../../src/artifact/artifact.ts";
import { memorySource } from "../../src/artifact/byte-source.ts";
import { hfArtifact } from "../../src/artifact/hf-artifact.ts";
import { readSafetensors } from "../../src/artifact/safetensors.ts";
import type { Backend } from "../../src/backend/contract.ts";
import { modelGraph } from "../../src/models/models.ts";
import { ProgramRunner } from "../../src/backend/program-runner.ts";
import { seededSafetensors, type SeededTensor } from "./seeded.ts";

const FOLDER = path.join(import.meta.dirname, "../fixtures/parity");

export interface ParityCase {
  readonly name: string;
  readonly artifact: ModelArtifact;
  readonly tokens: readonly number[];
  /** The positions whose logits are recorded, and those logits `[positions, vocabulary]`. */
  readonly positions: readonly number[];
  readonly logits: Float32Array;
  readonly vocabulary: number;
}

export function parityFamilies(): string[] {
  return readdirSync(FOLDER).toSorted();
}

export function parityConfig(name: string): MetaObject {
  return JSON.parse(configText(name)) as MetaObject;
}

/** A fixture's files: the config as text, the checkpoint as the bytes of a safetensors file. */
export function parityFiles(name: string): { readonly config: string; readonly weights: Uint8Array } {
  const { dtype, tensors } = recorded(name);
  return {
    config: configText(name),
    weights: seededSafetensors(name, dtype, tensors),
  };
}

/** Opens a fixture. They have no tokenizer: their ids are given. */
export async function openParityCase(name: string): Promise<ParityCase> {
  const { config, weights } = parityFiles(name);
  const { tokens, positions, vocabulary } = recorded(name);
  const file = await readSafetensors(memorySource(`${name}/model.safetensors`, weights));
  const artifact = hfArtifact(name, { "config.json": config, "tokenizer.json": "{}" }, [file]);
  const bytes = readFileSync(path.join(FOLDER, name, "logits.f32"));
  const logits = Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
  return { name, artifact, tokens, positions, vocabulary, logits };
}

function configText(name: string): string {
  return readFileSync(path.join(FOLDER, name, "config.json"), "utf8");
}

/** Who computed a fixture's logits: transformers' version, and the model_type that it took for it. */
export function recordedBy(name: string): Pick<Recorded, "transformers" | "computedAs"> {
  return recorded(name);
}

interface Recorded extends Pick<ParityCase, "tokens" | "positions" | "vocabulary"> {
  readonly transformers: string;
  readonly computedAs: string;
  readonly dtype: "F16" | "BF16";
  readonly tensors: Readonly<Record<string, SeededTensor>>;
}

function recorded(name: string): Recorded {
  return JSON.parse(readFileSync(path.join(FOLDER, name, "case.json"), "utf8")) as Recorded;
}

/** How the tokens are cut into steps. */
export const SCHEDULES = {
  prefill: (count: number) => [count],
  "token by token": (count: number) => Array.from({ length: count }, () => 1),
  "prefill + decode": (count: number) => [count - 20, ...Array.from({ length: 20 }, () => 1)],
} as const satisfies Record<string, (count: number) => number[]>;

export type Schedule = keyof typeof SCHEDULES;

export interface ParityResult {
  readonly schedule: Schedule;
  /** Largest |logit − recorded logit|. */
  readonly difference: number;
  readonly compared: number;
}

/** Runs a case under the given schedules with F32 KV. */
export async function runParity(
  backend: Backend,
  parityCase: ParityCase,
  schedules: readonly Schedule[],
): Promise<ParityResult[]> {
  const { artifact, tokens, positions, vocabulary } = parityCase;
  const { graph } = await modelGraph(artifact, { context: tokens.length });
  const runner = await ProgramRunner.create(backend, artifact, graph, { kv: "f32", context: tokens.length });
  try {
    const results: ParityResult[] = [];
    for (const schedule of schedules) {
      runner.restart();
      let difference = 0;
      let compared = 0;
      let from = 0;
      for (const count of SCHEDULES[schedule](tokens.length)) {
        const wanted = positions.filter((position) => position >= from && position < from + count);
        const rows = wanted.map((position) => position - from);
        const { logits } = await runner.step([{ sequence: 0, tokens: tokens.slice(from, from + count) }], {
          logits: rows,
        });
        wanted.forEach((position, i) => {
          const recorded = positions.indexOf(position) * vocabulary;
          for (let id = 0; id < vocabulary; id++) {
            const gap = Math.abs((logits[i * vocabulary + id] ?? NaN) - (parityCase.logits[recorded + id] ?? NaN));
            // NaN is as wrong as can be.
            difference = Number.isNaN(gap) ? Infinity : Math.max(difference, gap);
            compared += 1;
          }
        });
        from += count;
      }
      results.push({ schedule, difference, compared });
    }
    return results;
  } finally {
    await runner.close();
  }
}
