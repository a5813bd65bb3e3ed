/**
 * An adapter on its way to a backend: for some of a model's tensors a change of low rank. Who wrote it (PEFT, llama.cpp)
 * and what it called the layers is settled before (adapter readers); the tensors' names here are the base model's own.
 */
import type { Tensor } from "./artifact.ts";

/**
 * W → W + scale · B A (LoRA, Hu et al. 2021), and where there are gains (DoRA, Liu et al. 2024) row n of that times
 * `gain[n]`. For W `[N, K]`, however its file holds it.
 */
export interface LowRank {
  /** `[r, K]` */
  readonly a: Tensor;
  /** `[N, r]` */
  readonly b: Tensor;
  readonly scale: number;
  /** `[N]` */
  readonly gain?: Float32Array;
}

export interface Adapter {
  /** For messages: the file or folder. */
  readonly name: string;
  /** By the name of the base model's tensor. */
  readonly pairs: ReadonlyMap<string, LowRank>;
}

/** The largest rank of an adapter's pairs. */
export function rankOf({ pairs }: Adapter): number {
  return Math.max(0, ...[...pairs.values()].map(({ a }) => a.shape[0] ?? 0));
}
