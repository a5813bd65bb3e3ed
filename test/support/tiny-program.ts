/**
 * A small transformer for tests of the native backend, and a program of it whose plans are written by hand.
 */
import type { Backend, CompileOptions, Pool, Program, Weights } from "../../src/backend/contract.ts";
import { groupStates } from "../../src/backend/groups.ts";
import { StepPlanBuffer } from "../../src/backend/step-plan.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import type { Graph, Value, WeightRef } from "../../src/graph/graph.ts";
import { TensorMaker } from "./memory-artifact.ts";

export const TINY_VOCABULARY = 48;
const WIDTH = 64;

/** A transformer of two layers whose linears are Q4_0, Q8_0 and F16, with a window in its second layer. */
export function tinyModel(tensors: TensorMaker): Graph {
  const g = new GraphBuilder("tiny");
  const frequencies = Float32Array.from({ length: 8 }, (_, i) => 10_000 ** (-i / 8));
  let x: Value = g.embed(tensors.tensor("table", "Q8_0", [TINY_VOCABULARY, WIDTH]));
  for (const layer of [0, 1]) {
    const weight = (name: string, dtype: "Q4_0" | "Q8_0" | "F16", n: number, k: number): WeightRef =>
      tensors.tensor(`${layer}.${name}`, dtype, [n, k], 0.2);
    const norm = (name: string): WeightRef => tensors.tensor(`${layer}.${name}`, "F32", [WIDTH], 0.1, 1);
    const state = g.state({
      ...(layer === 0 ? { kind: "kv" as const } : { kind: "window-kv" as const, window: 40 }),
      name: `layer ${layer}`,
      kvHeads: 2,
      keyDim: 16,
      valueDim: 16,
    });
    const h = g.rmsNorm(x, norm("norm1"), { eps: 1e-5 });
    const rope = { headDim: 16, style: "half", frequencies, magnitude: 1 } as const;
    const q = g.rope(g.linear(h, weight("q", "Q8_0", 64, WIDTH)), rope);
    const k = g.rope(g.linear(h, weight("k", "Q8_0", 32, WIDTH)), rope);
    const v = g.linear(h, weight("v", "Q8_0", 32, WIDTH));
    const a = g.attention(q, k, v, { state, heads: 4, scale: 0.25 });
    x = g.add(x, g.linear(a, weight("o", "F16", WIDTH, 64)));
    const m = g.rmsNorm(x, norm("norm2"), { eps: 1e-5 });
    const inner = g.gate(
      g.linear(m, weight("gate", "Q4_0", 96, WIDTH)),
      g.linear(m, weight("up", "Q4_0", 96, WIDTH)),
      "silu",
    );
    x = g.add(x, g.linear(inner, weight("down", "Q4_0", WIDTH, 96)));
  }
  const last = g.rmsNorm(x, tensors.tensor("norm", "F32", [WIDTH], 0.1, 1), { eps: 1e-5 });
  const logits = g.linear(g.rows(last), tensors.tensor("head", "Q8_0", [TINY_VOCABULARY, WIDTH], 0.2));
  return g.finish(logits, { contextLength: 512 });
}

export interface TinyProgram {
  readonly program: Program;
  readonly pool: Pool;
  readonly weights: Weights;
  /** A plan of a prompt of three tokens in block 2 of each group, and `count` fresh ones. */
  plan(): StepPlanBuffer;
  close(): Promise<void>;
}

export async function tinyProgram(backend: Backend, limits: Partial<CompileOptions> = {}): Promise<TinyProgram> {
  const tensors = new TensorMaker(1);
  const graph = tinyModel(tensors);
  const groups = groupStates([graph], "f32");
  const lowered = backend.lower(graph, tensors.artifact(), groups);
  const weights = await backend.upload([lowered]);
  const pool = await backend.allocate(groups, [4, 4]);
  const options: CompileOptions = {
    stepTokens: 32,
    maxSequences: 2,
    maxOutputs: 8,
    samplerSlots: 2,
    maxListed: 16,
    maxMoves: 4,
    maxCopies: 4,
    outputs: ["logits"],
    ...limits,
  };
  const program = await backend.compile(lowered, weights, pool, options);
  let id = 0;
  return {
    program,
    pool,
    weights,
    plan: () => {
      const plan = new StepPlanBuffer({ ...options, groups: groups.length, context: 32 });
      id += 1;
      plan.id = id;
      plan.addSequence(groups.map(() => [2]));
      plan.addRows([1, 2, 3], 0);
      return plan;
    },
    close: async () => {
      await program.close();
      pool.close();
      weights.close();
    },
  };
}
