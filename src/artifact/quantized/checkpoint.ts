/**
 * Checkpoints whose config.json has a `quantization_config`: each quantised layer becomes a tensor of a format that
 * Millrace knows (matrix.ts), under the name that the layer's weight would have. A method that isn't known is refused by its
 * name; its scales and zeros are read when the model is opened, its codes when somebody wants the weights.
 */
import { UnsupportedError } from "../../errors.ts";
import type { MetaObject, MetaValue, ModelArtifact, Tensor } from "../artifact.ts";
import type { SafetensorsFile } from "../safetensors.ts";
import { bnb4Matrix } from "./bitsandbytes.ts";
import { type Matrix, matrixTensor } from "./matrix.ts";
import { Kept, Modules, type Stored } from "./modules.ts";
import { awqMatrix, gptqMatrix } from "./packed-int32.ts";
import { bnbInt8Matrix, float4Matrix, float8Matrix, int8Matrix, mxfp4Experts, packedMatrix } from "./scaled.ts";

/** Gives the matrix of each module that the method has quantised; its shape, where it is a stack of several. */
type Method = (
  modules: Modules,
  config: MetaObject,
) => AsyncGenerator<readonly [module: string, matrix: Matrix, shape?: readonly number[]]>;

const METHODS: Readonly<Record<string, Method>> = {
  async *gptq(modules, config) {
    const kept = new Kept<Int32Array>();
    for (const module of modules.having("qweight")) yield [module, await gptqMatrix(modules, module, config, kept)];
  },
  async *awq(modules, config) {
    const kept = new Kept<Int32Array>();
    for (const module of modules.having("qweight")) yield [module, await awqMatrix(modules, module, config, kept)];
  },
  async *"compressed-tensors"(modules, config) {
    if (
      isObject(config["sparsity_config"]) &&
      !["dense", undefined].includes(config["sparsity_config"]["format"] as string)
    )
      throw new UnsupportedError(`${modules.name}: sparse compressed-tensors aren't supported`);
    const kept = new Kept<Int32Array>();
    const block = blockOf(config);
    for (const module of modules.having("weight_packed")) {
      const isInts = modules.find(module, "weight_shape") !== undefined;
      yield [module, await (isInts ? packedMatrix(modules, module, kept) : float4Matrix(modules, module))];
    }
    for (const module of modules.having("weight_scale")) {
      const weight = modules.find(module, "weight");
      if (weight === undefined || !("type" in weight)) continue;
      const isInt = weight.type === "I8";
      yield [
        module,
        await (isInt
          ? int8Matrix(modules, module, "weight_scale")
          : float8Matrix(modules, module, "weight_scale", block)),
      ];
    }
  },
  /** gpt-oss: stacks of experts, whose weights have no ".weight" in their names. */
  async *mxfp4(modules) {
    for (const name of modules.ending("_blocks")) {
      const [blocks, scales] = ["_blocks", "_scales"].map((end) => modules.rawOf(`${name}${end}`));
      if (blocks === undefined || scales === undefined) continue;
      const matrix = mxfp4Experts(modules, name, blocks, scales);
      yield [name, matrix, [...blocks.shape.slice(0, 2), matrix.columns]];
    }
  },
  async *fp8(modules, config) {
    for (const module of modules.having("weight_scale_inv"))
      yield [module, await float8Matrix(modules, module, "weight_scale_inv", blockOf(config))];
  },
  async *fbgemm_fp8(modules) {
    for (const module of modules.having("weight_scale"))
      yield [module, await float8Matrix(modules, module, "weight_scale", undefined)];
  },
  async *bitsandbytes(modules) {
    for (const module of modules.having("weight.absmax")) yield [module, await bnb4Matrix(modules, module)];
    for (const module of modules.having("SCB")) yield [module, await bnbInt8Matrix(modules, module)];
  },
};

/** The rows and columns that share a scale, where the config says so. */
function blockOf(config: MetaObject): readonly number[] | undefined {
  const direct = config["weight_block_size"];
  const groups = isObject(config["config_groups"]) ? Object.values(config["config_groups"]) : [];
  for (const value of [direct, ...groups.map((group) => weightsOf(group)?.["block_structure"])]) {
    const list: readonly unknown[] = Array.isArray(value) ? value : [];
    if (list.length === 2 && list.every((n) => Number.isInteger(n) && Number(n) > 0)) return list as number[];
  }
  return undefined;
}

function weightsOf(group: MetaValue | undefined): MetaObject | undefined {
  const weights = isObject(group) ? group["weights"] : undefined;
  return isObject(weights) ? weights : undefined;
}

function isObject(value: MetaValue | undefined): value is MetaObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/**
 * The model with its quantised layers as tensors; the same one where it has none.
 * @throws UnsupportedError where the method, or a setting of it, isn't supported; ArtifactError where parts don't fit
 */
export async function withQuantizedWeights(
  artifact: ModelArtifact,
  files: readonly SafetensorsFile[],
): Promise<ModelArtifact> {
  const { name, config } = artifact;
  const raw = files.flatMap((file) => file.raw);
  const settings = quantizationOf(config.values);
  if (settings === undefined) {
    const odd = raw.find(({ type }) => type.startsWith("F8") || type.startsWith("F4"));
    if (odd === undefined) return artifact;
    throw new UnsupportedError(
      `${odd.source.name}: tensor "${odd.name}" has type ${odd.type}, and config.json has no quantization_config to say how it is meant`,
    );
  }
  const kind = settings["quant_method"];
  const method = typeof kind === "string" && Object.hasOwn(METHODS, kind) ? METHODS[kind] : undefined;
  if (method === undefined || typeof kind !== "string") {
    const known = Object.keys(METHODS).join(", ");
    throw new UnsupportedError(
      `${name}: quant_method is ${JSON.stringify(kind)}, which isn't supported (${known} are)`,
    );
  }
  const stored = new Map<string, Stored>([...artifact.tensors, ...raw.map((tensor) => [tensor.name, tensor] as const)]);
  const modules = new Modules(name, stored);
  const made = new Map<string, Tensor>();
  for await (const [module, matrix, shape] of method(modules, settings)) {
    const weight = shape === undefined ? `${module}.weight` : module;
    made.set(weight, matrixTensor(weight, name, matrix, shape));
  }
  const left = raw.find((tensor) => WEIGHT.test(tensor.name) && !made.has(tensor.name.replace(WEIGHT, ".weight")));
  if (left !== undefined) {
    throw new UnsupportedError(
      `${left.source.name}: tensor "${left.name}" has type ${left.type}, which quant_method "${kind}" doesn't explain`,
    );
  }
  const consumed = (tensor: string): boolean => [...PARTS].some((part) => tensor.endsWith(part));
  const plain = [...artifact.tensors].filter(([tensor]) => !consumed(tensor));
  return { ...artifact, tensors: new Map([...plain, ...made]) };
}

/** Codes of a layer. */
const WEIGHT = /\.(?:weight|qweight|weight_packed)$/;

/** What layers are made of: no weights of the network by themselves. */
const PARTS = [".scales", ".weight_scale", ".weight_scale_inv", ".weight_global_scale", ".input_scale", ".SCB"].concat([
  ".input_global_scale",
  ".absmax",
  ".quant_map",
  ".nested_absmax",
  ".nested_quant_map",
]);

function quantizationOf(values: MetaObject): MetaObject | undefined {
  const text = values["text_config"];
  for (const holder of [values, ...(isObject(text) ? [text] : [])]) {
    const found = holder["quantization_config"] ?? holder["compression_config"];
    if (isObject(found)) return found;
  }
  return undefined;
}
