/**
 * sentence-transformers' Dense modules of a model's folder (EmbeddingGemma has two): small matrices that a pooled vector goes
 * through. They are read whole: a front half multiplies by them.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { ArtifactError } from "../errors.ts";
import type { DenseLayer, MetaValue } from "./artifact.ts";
import { denseFolders } from "./embedding-defaults.ts";
import { parseObject } from "./hf-artifact.ts";
import { fileSource, readSmallFile } from "./node-file.ts";
import { readSafetensors } from "./safetensors.ts";
import { tensorValues } from "./tensor-values.ts";

const CONFIG = "config.json";
const WEIGHTS = "model.safetensors";
const MOST_CONFIG = 2 ** 20;
/** Values of one matrix: no vector's is larger by far. */
const MOST_VALUES = 2 ** 26;

/** Torch's names of what a module may put behind its matrix. */
const ACTIVATIONS: Readonly<Record<string, DenseLayer["activation"]>> = {
  "torch.nn.modules.linear.Identity": "identity",
  "torch.nn.modules.activation.Tanh": "tanh",
};

/** `modules`: what modules.json holds. Undefined where a module's folder lacks a file: then vectors are refused. */
export async function readDense(folder: string, modules: MetaValue | undefined): Promise<DenseLayer[] | undefined> {
  const layers: DenseLayer[] = [];
  for (const name of denseFolders(modules)) {
    const inside = await readdir(join(folder, name)).catch((): string[] => []);
    if (!inside.includes(CONFIG) || !inside.includes(WEIGHTS)) return undefined;
    layers.push(await readLayer(folder, name));
  }
  return layers;
}

async function readLayer(folder: string, name: string): Promise<DenseLayer> {
  const text = new TextDecoder().decode(await readSmallFile(join(folder, name, CONFIG), MOST_CONFIG));
  const config = parseObject(folder, `${name}/${CONFIG}`, text);
  const named = config["activation_function"] ?? "torch.nn.modules.activation.Tanh";
  const activation = typeof named === "string" ? ACTIVATIONS[named] : undefined;
  if (activation === undefined)
    throw new ArtifactError(
      `${folder}: ${name} puts ${JSON.stringify(named)} behind its matrix; identity and tanh work`,
    );
  const source = await fileSource(join(folder, name, WEIGHTS));
  try {
    const { tensors } = await readSafetensors(source);
    const weight = tensors.find((tensor) => tensor.name === "linear.weight");
    const [outputs = 0, inputs = 0] = weight?.shape ?? [];
    const fits = weight?.shape.length === 2 && outputs * inputs > 0 && outputs * inputs <= MOST_VALUES;
    if (weight === undefined || !fits)
      throw new ArtifactError(`${folder}: ${name}/${WEIGHTS} has no matrix "linear.weight" of a vector's size`);
    const bias = tensors.find((tensor) => tensor.name === "linear.bias");
    if (bias !== undefined && (bias.shape.length !== 1 || bias.shape[0] !== outputs))
      throw new ArtifactError(
        `${folder}: ${name}'s bias has the shape [${bias.shape.join(", ")}], expected [${outputs}]`,
      );
    return {
      weight: await tensorValues(weight),
      inputs,
      activation,
      ...(bias && { bias: await tensorValues(bias) }),
    };
  } finally {
    await source.close();
  }
}
