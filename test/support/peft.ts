/** The adapter fixtures (made by recipes/fixtures/adapters.py with PEFT; their weights come from a seed). */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { seededSafetensors, seededValues, type SeededTensor } from "./seeded.ts";

const FOLDER = path.join(import.meta.dirname, "../fixtures/adapters");

interface Recorded {
  readonly base: string;
  readonly dtype: "BF16";
  readonly vocabulary: number;
  readonly tokens: readonly number[];
  readonly positions: readonly number[];
  readonly tensors: Readonly<Record<string, SeededTensor>>;
}

/** PEFT saves the base of an adapted output matrix as well, and takes it from there. */
const OF_BASE = /^base_model\.model\.(.+)\.base_layer\.weight$/;

export interface PeftCase extends Omit<Recorded, "tensors" | "dtype"> {
  readonly name: string;
  /** adapter_config.json, and the bytes of adapter_model.safetensors. */
  readonly config: string;
  readonly weights: Uint8Array;
  /** Weights of the base that the adapter's file replaces. */
  readonly replaced: ReadonlyMap<string, { readonly shape: readonly number[]; readonly values: Float32Array }>;
  /** `[positions, vocabulary]` */
  readonly logits: Float32Array;
}

export function peftNames(): string[] {
  return readdirSync(FOLDER).toSorted();
}

export function openPeftCase(name: string): PeftCase {
  const read = (file: string): Buffer => readFileSync(path.join(FOLDER, name, file));
  const { tensors, dtype, ...recorded } = JSON.parse(read("case.json").toString("utf8")) as Recorded;
  const bytes = read("logits.f32");
  const [own, held] = [true, false].map((isOwn) =>
    Object.entries(tensors).filter(([tensor]) => OF_BASE.test(tensor) !== isOwn),
  ) as [[string, SeededTensor][], [string, SeededTensor][]];
  return {
    name,
    ...recorded,
    config: read("adapter_config.json").toString("utf8"),
    weights: seededSafetensors(name, dtype, Object.fromEntries(own)),
    replaced: new Map(
      held.map(([tensor, seeded]) => [
        tensor.replace(OF_BASE, "$1.weight"),
        { shape: seeded[0], values: seededValues(name, tensor, seeded) },
      ]),
    ),
    logits: Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i)),
  };
}
