/** Adapters from memory, for tests: low-rank pairs of random values for some of a model's tensors. */
import type { Adapter, LowRank } from "../../src/artifact/adapter.ts";
import type { AdapterArtifact } from "../../src/artifact/adapter-artifact.ts";
import type { ModelArtifact } from "../../src/artifact/artifact.ts";
import { TensorMaker } from "./memory-artifact.ts";
import { Random } from "./random.ts";

export interface AdapterOptions {
  readonly rank?: number;
  readonly dtype?: "F32" | "F16" | "BF16";
  readonly scale?: number;
  /** DoRA: a gain of each row. */
  readonly gains?: boolean;
}

/** `changes`: the pairs' tensors, by name, with their rows and columns. */
export function randomAdapter(
  seed: number,
  changes: readonly (readonly [name: string, rows: number, columns: number])[],
  options: AdapterOptions = {},
): Adapter {
  const { rank = 4, dtype = "F32", scale = 0.5, gains = false } = options;
  const maker = new TensorMaker(seed);
  const random = new Random(seed);
  for (const [name, rows, columns] of changes) {
    maker.tensor(`${name}.a`, dtype, [rank, columns], 0.2);
    maker.tensor(`${name}.b`, dtype, [rows, rank], 0.2);
  }
  const { tensors } = maker.artifact();
  const pairs = changes.map(([name, rows]): [string, LowRank] => {
    const [a, b] = [tensors.get(`${name}.a`), tensors.get(`${name}.b`)];
    if (a === undefined || b === undefined) throw new Error("a pair's tensor is missing");
    const gain = Float32Array.from({ length: rows }, () => 0.5 + random.below(1000) / 1000);
    return [name, { a, b, scale, ...(gains && { gain }) }];
  });
  return { name: `adapter ${seed}`, pairs: new Map(pairs) };
}

/** The same as an engine opens it: with the tensors' names as layers, as a GGUF adapter has them. */
export function adapterFile(adapter: Adapter): AdapterArtifact {
  const layers = new Map([...adapter.pairs].map(([name, { a, b, scale }]) => [name, { a, b, scale }]));
  return { name: adapter.name, format: "gguf", layers, metadata: {}, close: async () => undefined };
}

/** All matrices of a model but those whose names match `except`. */
export function matricesOf(artifact: ModelArtifact, except: RegExp): [name: string, rows: number, columns: number][] {
  return [...artifact.tensors.values()].flatMap(({ name, shape: [rows = 0, columns, more] }) =>
    columns === undefined || more !== undefined || except.test(name) ? [] : [[name, rows, columns]],
  );
}
