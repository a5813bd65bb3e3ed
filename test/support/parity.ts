/**
 * The parity fixtures (made by recipes/fixtures/make.py) and how a backend is held against them: a whole prefill,
 * token by token, and a prefill of n followed by decodes must all give transformers' logits.
 */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { ModelArtifact } from "../../src/artifact/artifact.ts";
import { hfArtifact } from "../../src/artifact/hf-artifact.ts";
import { fileSource } from "../../src/artifact/node-file.ts";
import { readSafetensors } from "../../src/artifact/safetensors.ts";
import type { Backend } from "../../src/backend/contract.ts";
import { modelGraph } from "../../src/models/models.ts";
import { ProgramRunner } from "../../src/backend/program-runner.ts";

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

/** Opens a fixture. They have no tokenizer: their ids are given. */
export async function openParityCase(name: string): Promise<ParityCase> {
  const folder = path.join(FOLDER, name);
  const text = (file: string): string => readFileSync(path.join(folder, file), "utf8");
  const recorded = JSON.parse(text("case.json")) as Pick<ParityCase, "tokens" | "positions" | "vocabulary">;
  const weights = await readSafetensors(await fileSource(path.join(folder, "model.safetensors")));
  const artifact = hfArtifact(name, { "config.json": text("config.json"), "tokenizer.json": "{}" }, [weights]);
  const bytes = readFileSync(path.join(folder, "logits.f32"));
  const logits = Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
  return { name, artifact, ...recorded, logits };
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
  const { graph } = await modelGraph(artifact);
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
