/**
 * The pass `low-rank`: every matrix of the layers becomes a product of two narrow ones, with fewer weights to keep and to
 * read (C9-40, C9-44). The model runs as such: `models/layer.ts` knows a matrix in two factors. How they are found stands in
 * `factorise.ts`.
 */
import { z } from "zod";

import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { invariant } from "../errors.ts";
import { lowRankName } from "../models/layer.ts";
import { walkLayers } from "./change-layers.ts";
import { checkGraph } from "./check-graph.ts";
import { factorise, type LowRank, rankFor, searchedRanks } from "./factorise.ts";
import type { InputStatistics } from "./input-statistics.ts";
import { type Matrix, matrixOf, multiply } from "./linear-algebra/matrix.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import { keepJson, keepTensor, onlyChunk } from "./store.ts";
import { encodeFloats, type FloatDType, withTensorMap } from "./tensors.ts";
import { memorySource } from "../artifact/byte-source.ts";

const OPTIONS = z.strictObject({
  /** By the matrix alone, by the sizes of its inputs, or whitened by their Gram matrix. */
  by: z.enum(["svd", "asvd", "svd-llm"]).default("svd-llm"),
  /** The share of the layers' weights that stays. */
  keep: z.number().positive().max(1).default(0.8),
  /** "searched": matrices with few large singular values get lower ranks. */
  ranks: z.enum(["uniform", "searched"]).default("uniform"),
  /** Ranks are multiples of this, as block formats want it. */
  multiple: z.int().min(1).max(256).default(32),
  type: z.enum(["F32", "F16", "BF16"]).default("F16"),
});
type Options = z.infer<typeof OPTIONS>;

export const lowRank = definePass<Options>({
  name: "low-rank",
  summary: "two narrow matrices for each: SVD, ASVD (Yuan et al. 2023), SVD-LLM (Wang et al. 2025)",
  taxonomy: { tensors: ["weights"], format: "low rank", parameters: "statistics", update: "reconstruction" },
  needsCalibration: true,
  options: OPTIONS,
  apply,
});

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  const { by, keep, multiple, type } = options;
  const searched = options.ranks === "searched" ? await searchRanks(artifact, context, options) : undefined;
  const tensors = new Map(artifact.tensors);
  const ranks: Record<string, number> = {};
  let [before, after] = [0, 0];
  await walkLayers(artifact, context, by === "svd-llm", async (_layer, sites, seenOf) => {
    const products = new Map<string, Tensor>();
    for (const site of sites) {
      context.signal?.throwIfAborted();
      const tensor = artifact.tensors.get(site.tensor);
      invariant(tensor !== undefined, `the graph names ${site.tensor}`);
      const [rows = 0, columns = 0] = tensor.shape;
      const rank = searched?.[tensor.name] ?? rankFor(rows, columns, keep, multiple);
      const weights = rows * columns;
      before += weights;
      // No factors where they would be more than the matrix.
      if (rank * (rows + columns) >= weights) {
        after += weights;
        continue;
      }
      const made = await keepFactors(tensor, rank, { ...context, type }, async () =>
        factorise(await matrixFrom(tensor), rank, by, seenOf(site)),
      );
      tensors.delete(tensor.name);
      for (const factor of [made.a, made.b]) tensors.set(factor.name, factor);
      products.set(tensor.name, await productOf(made, tensor));
      ranks[tensor.name] = rank;
      after += rank * (rows + columns);
    }
    return products;
  });
  const result = withTensorMap(artifact, tensors);
  await checkGraph(result, "have matrices in two factors");
  return { artifact: result, report: { by, keep: before === 0 ? 1 : after / before, ranks } };
}

export interface Factors {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** The two factors of a matrix from the store, or made now and kept. */
export async function keepFactors(
  { name, shape }: Tensor,
  rank: number,
  { store, type }: Pick<PassContext, "store"> & { readonly type: FloatDType },
  make: () => Promise<Pick<LowRank, "a" | "b">>,
): Promise<Factors> {
  const [rows = 0, columns = 0] = shape;
  let made: Promise<Pick<LowRank, "a" | "b">> | undefined;
  const keep = (which: "a" | "b", wanted: readonly number[]): Promise<Tensor> => {
    async function* bytes(): AsyncGenerator<Uint8Array> {
      made ??= make();
      yield* onlyChunk(encodeFloats(type, Float32Array.from((await made)[which].values)));
    }
    return keepTensor(store, { name: lowRankName[which](name), dtype: type, shape: wanted, bytes });
  };
  return { a: await keep("a", [rank, columns]), b: await keep("b", [rows, rank]) };
}

export async function matrixFrom(tensor: Tensor): Promise<Matrix> {
  return matrixOf(tensor.shape[0] ?? 0, tensor.shape[1] ?? 0, await tensorValues(tensor));
}

/** b · a as a matrix again, with which the walk goes on. */
async function productOf({ a, b }: Factors, like: Tensor): Promise<Tensor> {
  const values = Float32Array.from(multiply(await matrixFrom(b), await matrixFrom(a)).values);
  const bytes = encodeFloats("F32", values);
  return {
    name: like.name,
    dtype: "F32",
    shape: like.shape,
    source: memorySource(like.name, bytes),
    offset: 0,
    byteLength: bytes.length,
  };
}

/** The ranks of all matrices by their singular values in the model as it is. */
async function searchRanks(
  artifact: ModelArtifact,
  context: PassContext,
  { by, keep, multiple }: Options,
): Promise<Record<string, number>> {
  return keepJson(context.store, "ranks", async () => {
    const names: string[] = [];
    const choices: { rows: number; columns: number; energies: number[] }[] = [];
    await walkLayers(artifact, context, by === "svd-llm", async (_layer, sites, seenOf) => {
      for (const site of sites) {
        const tensor = artifact.tensors.get(site.tensor);
        invariant(tensor !== undefined, `the graph names ${site.tensor}`);
        const energies = await energiesOf(tensor, by, seenOf(site));
        names.push(tensor.name);
        choices.push({ rows: tensor.shape[0] ?? 0, columns: tensor.shape[1] ?? 0, energies });
      }
      return new Map();
    });
    const ranks = searchedRanks(choices, keep, multiple);
    return Object.fromEntries(names.map((name, i) => [name, ranks[i] ?? 0]));
  });
}

async function energiesOf(tensor: Tensor, by: Options["by"], seen: InputStatistics): Promise<number[]> {
  const { singular } = factorise(await matrixFrom(tensor), 1, by, seen);
  const squares = [...singular].map((value) => value * value);
  const sum = squares.reduce((total, square) => total + square, 0);
  return squares.map((square) => (sum > 0 ? square / sum : 0));
}
