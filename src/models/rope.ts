/**
 * Rotary frequencies and their scalings: plain, linear (Chen et al. 2023), Llama-3's by wavelength, YaRN (Peng et
 * al. 2023), LongRoPE (Ding et al. 2024), NTK-aware ("dynamic"), from GGUF's keys and tensors or config.json. Whatever
 * depends on length is decided here, once, by the context that the model is loaded with: a position's angle never changes
 * later. `ropeVariant` names the decision, because a request's tokens depend on it.
 */
import type { MetaObject, MetaValue, ModelArtifact } from "../artifact/artifact.ts";
import { ArtifactError, UnsupportedError } from "../errors.ts";
import type { RopeOptions } from "../graph/builder.ts";
import { isObject, numberList } from "./config.ts";
import type { ConfigReader } from "./config.ts";
import { readContextLength } from "./dimensions.ts";
import { TensorFinder } from "./tensors.ts";

export interface RopeSettings {
  readonly headDim: number;
  readonly style: RopeOptions["style"];
  /** Positions that the model was made for, and those that it is loaded for. */
  readonly contextLength: number;
  readonly context: number;
  /** Columns of a head that are turned, where the config says it in a way of its own. */
  readonly turned?: number;
  /** GGUF's key of the base, where it isn't `rope.freq_base`. */
  readonly ggufBase?: string;
  /** Hugging Face's entry in `rope_parameters` (Gemma-3 has one for each kind of layer), and older configs' key. */
  readonly layerType?: string;
  readonly hfBase?: string;
  readonly defaultBase?: number;
  /** A scaling is not applied (Gemma-3's window layers). */
  readonly unscaled?: boolean;
}

/** What a scaling needs, in one vocabulary. */
interface Scaling {
  readonly type: string;
  readonly factor: number;
  readonly originalContext?: number | undefined;
  readonly magnitude?: number | undefined;
  readonly lowFactor?: number | undefined;
  readonly highFactor?: number | undefined;
  readonly betaFast?: number | undefined;
  readonly betaSlow?: number | undefined;
  readonly truncate?: boolean | undefined;
  readonly mscale?: number | undefined;
  readonly mscaleAll?: number | undefined;
  /** Divisors of the frequencies, one each. */
  readonly divisors?: readonly number[] | undefined;
}

const TURNED = { gguf: "rope.dimension_count", hf: "head_dim × partial_rotary_factor" } as const;
const MAX_FREQUENCY = 1000;
const MAX_MAGNITUDE = 100;
/** A longer context than by this factor is no model's. */
const MAX_FACTOR = 1e6;

/** The frequencies of one kind of layer. Reads at most a few hundred values of a GGUF (`rope_freqs.weight`). */
export async function readRope(
  artifact: ModelArtifact,
  config: ConfigReader,
  settings: RopeSettings,
): Promise<RopeOptions> {
  const { headDim, style } = settings;
  const { base, turned, scaling } =
    config.format === "gguf" ? await ggufScaling(artifact, config, settings) : hfScaling(config, settings);
  const plain = Float64Array.from({ length: turned / 2 }, (_, i) => base ** ((-2 * i) / turned));
  const { frequencies, magnitude } = scale(plain, base, settings, scaling);
  // Plain ones lie between 0 and 1, and no scaling in use turns faster than them by much.
  const wild = frequencies.find((f) => !(f >= 0 && f <= MAX_FREQUENCY));
  if (wild !== undefined)
    throw config.wrongValue("rope frequency", wild, `a number from 0 to ${MAX_FREQUENCY} (look at base and factors)`);
  if (!(magnitude > 0 && magnitude <= MAX_MAGNITUDE))
    throw config.wrongValue("rope attention factor", magnitude, `a number above 0, at most ${MAX_MAGNITUDE}`);
  return { headDim, style, frequencies: Float32Array.from(frequencies), magnitude };
}

interface Raw {
  readonly base: number;
  /** Columns of a head that are turned. */
  readonly turned: number;
  readonly scaling: Scaling | undefined;
}

async function ggufScaling(artifact: ModelArtifact, config: ConfigReader, settings: RopeSettings): Promise<Raw> {
  const { headDim } = settings;
  const base = config.float([settings.ggufBase ?? "rope.freq_base", null], settings.defaultBase ?? 10000);
  const turned = turnedColumns(config, Math.min(config.int(["rope.dimension_count", null], headDim), headDim));
  if (settings.unscaled === true) return { base, turned, scaling: undefined };
  const number = (key: string): number | undefined => config.optional([key, null]);
  const originalContext = number("rope.scaling.original_context_length") ?? settings.contextLength;
  const length = settings.context > originalContext ? "long" : "short";
  const byLength = await readDivisors(artifact, `rope_factors_${length}.weight`, turned / 2);
  if (byLength !== undefined) {
    const factor = settings.contextLength / originalContext;
    const magnitude = number("rope.scaling.attn_factor");
    return { base, turned, scaling: { type: "longrope", factor, originalContext, magnitude, divisors: byLength } };
  }
  const divisors = await readDivisors(artifact, "rope_freqs.weight", turned / 2);
  const factor = number("rope.scaling.factor") ?? number("rope.scale_linear") ?? 1;
  if (!isFactor(factor)) throw config.wrongValue("rope.scaling.factor", factor, "a number above 0, at most 1e6");
  const type = config.choice(["rope.scaling.type", null], GGUF_TYPES, factor === 1 ? "default" : "linear");
  if (divisors !== undefined) return { base, turned, scaling: { type: "divisors", factor: 1, divisors } };
  if (type === "default" || factor === 1) return { base, turned, scaling: undefined };
  const magnitude = number("rope.scaling.attn_factor");
  const yarn = { betaFast: number("rope.scaling.yarn_beta_fast"), betaSlow: number("rope.scaling.yarn_beta_slow") };
  // GGUF's factor comes on top of YaRN's own, Hugging Face's replaces it.
  const whole = magnitude === undefined ? undefined : magnitude * yarnMagnitude(factor);
  return { base, turned, scaling: { type, factor, originalContext, magnitude: whole, ...yarn } };
}

/** Columns are turned in pairs. */
function turnedColumns(config: ConfigReader, columns: number): number {
  if (columns >= 2 && columns % 2 === 0) return columns;
  throw config.wrongValue(TURNED[config.format], columns, "an even number from 2 on");
}

const GGUF_TYPES = { none: "default", linear: "linear", yarn: "yarn", longrope: "default" } as const;

/** A small F32 tensor of `count` values, where the file has it. */
async function readDivisors(artifact: ModelArtifact, name: string, count: number): Promise<number[] | undefined> {
  if (!artifact.tensors.has(name)) return undefined;
  const tensor = new TensorFinder(artifact).get([name], [count]);
  if (tensor.dtype !== "F32")
    throw new UnsupportedError(`${artifact.name}: tensor "${name}" is ${tensor.dtype}, expected F32`);
  const bytes = await tensor.source.read(tensor.offset, 4 * count);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const divisors = Array.from({ length: count }, (_, i) => view.getFloat32(4 * i, true));
  const bad = divisors.find((divisor) => !isDivisor(divisor));
  if (bad !== undefined)
    throw new ArtifactError(`${artifact.name}: tensor "${name}" holds ${bad}, expected finite numbers above 0`);
  return divisors;
}

function hfScaling(config: ConfigReader, settings: RopeSettings): Raw {
  const { headDim, contextLength } = settings;
  const { base, own } = hfEntry(config, settings);
  const share = numberIn(config, own, "partial_rotary_factor") ?? config.float([null, "partial_rotary_factor"], 1);
  const turned = turnedColumns(config, settings.turned ?? Math.min(headDim, Math.floor(headDim * share)));
  const type = ropeType(own);
  if (type === "default" || settings.unscaled === true) return { base, turned, scaling: undefined };
  // Pairs lie half a head apart, all of them: those beyond the share stand still (Gemma 4).
  if (type === "proportional") {
    const still = Array.from({ length: headDim / 2 }, (_, i) => (i < turned / 2 ? 1 : Infinity));
    return { base, turned: headDim, scaling: { type: "divisors", factor: 1, divisors: still } };
  }
  if (typeof type !== "string") throw config.wrong([null, "rope_parameters"], "a rope_type");

  const originalContext = hfOriginalContext(config, own);
  const common = {
    originalContext: originalContext ?? contextLength,
    magnitude: numberIn(config, own, "attention_factor"),
  };
  if (isLongRope(type)) {
    const length = settings.context > common.originalContext ? "long" : "short";
    const divisors = numberList(own[`${length}_factor`]);
    if (divisors?.length !== Math.floor(turned / 2) || !divisors.every(isDivisor)) {
      throw config.wrong(
        [null, "rope_scaling"],
        `${Math.floor(turned / 2)} numbers above 0 each in long_factor and short_factor`,
      );
    }
    // Phi-3's files leave the factor out: it is the ratio of the two context lengths.
    const ratio = contextLength / common.originalContext;
    const factor = originalContext === undefined ? (numberIn(config, own, "factor") ?? 1) : ratio;
    return { base, turned, scaling: { ...common, type: "longrope", factor, divisors } };
  }
  const factor = numberIn(config, own, "factor");
  if (factor === undefined || !isFactor(factor))
    throw config.wrong([null, "rope_scaling"], `a factor for the rope type "${type}", above 0 and at most 1e6`);
  // NTK-aware scaling leaves the frequencies as they are up to the model's own length.
  if (type === "dynamic" && settings.context <= common.originalContext) return { base, turned, scaling: undefined };
  const scaling: Scaling = {
    ...common,
    type,
    factor,
    lowFactor: numberIn(config, own, "low_freq_factor"),
    highFactor: numberIn(config, own, "high_freq_factor"),
    betaFast: numberIn(config, own, "beta_fast"),
    betaSlow: numberIn(config, own, "beta_slow"),
    truncate: own["truncate"] !== false,
    mscale: numberIn(config, own, "mscale"),
    mscaleAll: numberIn(config, own, "mscale_all_dim"),
  };
  return { base, turned, scaling };
}

/**
 * What the context decided: which of LongRoPE's two lists of factors, or the length that NTK-aware scaling stretched for;
 * undefined where nothing depends on it. It belongs into the numeric profile.
 */
export function ropeVariant(artifact: ModelArtifact, config: ConfigReader, context: number): string | undefined {
  const contextLength = readContextLength(config);
  if (config.format === "gguf") {
    if (!artifact.tensors.has("rope_factors_long.weight")) return undefined;
    const original = config.optional(["rope.scaling.original_context_length", null]) ?? contextLength;
    return context > original ? "rope-long" : "rope-short";
  }
  const { own } = hfEntry(config, {});
  const type = ropeType(own);
  const original = hfOriginalContext(config, own) ?? contextLength;
  if (isLongRope(type)) return context > original ? "rope-long" : "rope-short";
  return type === "dynamic" && context > original ? `rope-dynamic-${context}` : undefined;
}

function ropeType(own: MetaObject): MetaValue {
  return own["rope_type"] ?? own["type"] ?? "default";
}

function isLongRope(type: MetaValue): boolean {
  return type === "longrope" || type === "su";
}

function hfOriginalContext(config: ConfigReader, own: MetaObject): number | undefined {
  return (
    numberIn(config, own, "original_max_position_embeddings") ??
    config.optional([null, "original_max_position_embeddings"])
  );
}

/** transformers 5 keeps all in `rope_parameters` (perhaps one for each layer type), 4 in `rope_theta` and `rope_scaling`. */
function hfEntry(
  config: ConfigReader,
  settings: Pick<RopeSettings, "layerType" | "hfBase" | "defaultBase">,
): { base: number; own: MetaObject } {
  const { layerType, hfBase = "rope_theta", defaultBase = 10000 } = settings;
  const parameters = config.object([null, "rope_parameters"]);
  if (parameters !== undefined) {
    const nested = layerType === undefined ? undefined : parameters[layerType];
    const own = isObject(nested) ? nested : parameters;
    return { base: numberIn(config, own, "rope_theta") ?? config.float([null, hfBase], defaultBase), own };
  }
  return { base: config.float([null, hfBase], defaultBase), own: config.object([null, "rope_scaling"]) ?? {} };
}

function isFactor(value: number): boolean {
  return value > 0 && value <= MAX_FACTOR;
}

/** One so large that it stops the turning is in use. */
function isDivisor(value: number): boolean {
  return value > 0 && Number.isFinite(value);
}

/** A number of an object in the config, where it is set. */
function numberIn(config: ConfigReader, object: MetaObject, key: string): number | undefined {
  const value = object[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
  throw config.wrongValue(`rope parameters, ${key}`, value, "a positive number");
}

function scale(
  plain: Float64Array,
  base: number,
  settings: RopeSettings,
  scaling: Scaling | undefined,
): { frequencies: Float64Array; magnitude: number } {
  if (scaling === undefined) return { frequencies: plain, magnitude: 1 };
  const { factor, originalContext = settings.contextLength, divisors = [] } = scaling;
  switch (scaling.type) {
    case "linear":
      return { frequencies: plain.map((f) => f / factor), magnitude: 1 };
    case "dynamic":
      return { frequencies: ntk(plain, factor * (settings.context / originalContext) - (factor - 1)), magnitude: 1 };
    case "divisors":
      return { frequencies: plain.map((f, i) => f / (divisors[i] ?? 1)), magnitude: 1 };
    case "longrope": {
      const grown = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalContext));
      return { frequencies: plain.map((f, i) => f / (divisors[i] ?? 1)), magnitude: scaling.magnitude ?? grown };
    }
    case "llama3":
      return { frequencies: llama3(plain, scaling, originalContext), magnitude: 1 };
    case "yarn":
      return { frequencies: yarn(plain, base, scaling, originalContext), magnitude: yarnMagnitudeOf(scaling) };
    default: {
      const known = "default, linear, dynamic, llama3, yarn, longrope";
      throw new UnsupportedError(`rope scaling "${scaling.type}" is not supported (supported: ${known})`);
    }
  }
}

/** The base grows so that the slowest pair turns `stretch` times slower; the fastest stays. */
function ntk(plain: Float64Array, stretch: number): Float64Array {
  return plain.map((f, i) => f * stretch ** (-i / Math.max(1, plain.length - 1)));
}

/** Long wavelengths are stretched by the factor, short ones stay, those between are mixed. */
function llama3(plain: Float64Array, scaling: Scaling, originalContext: number): Float64Array {
  const { factor, lowFactor = 1, highFactor = 4 } = scaling;
  return plain.map((f) => {
    const turns = (originalContext * f) / (2 * Math.PI);
    if (turns > highFactor) return f;
    if (turns < lowFactor) return f / factor;
    const smooth = (turns - lowFactor) / (highFactor - lowFactor);
    return (1 - smooth) * (f / factor) + smooth * f;
  });
}

/** A ramp over the dimensions, from those that turn often in the original context (kept) to those that hardly do. */
function yarn(plain: Float64Array, base: number, scaling: Scaling, originalContext: number): Float64Array {
  const { factor, betaFast = 32, betaSlow = 1, truncate = true } = scaling;
  const turned = 2 * plain.length;
  const dimension = (turns: number): number =>
    (turned * Math.log(originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  const first = dimension(betaFast);
  const last = dimension(betaSlow);
  const low = Math.max(truncate ? Math.floor(first) : first, 0);
  const high = Math.min(truncate ? Math.ceil(last) : last, turned - 1);
  const span = low === high ? 0.001 : high - low;
  return plain.map((f, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / span));
    return (f / factor) * ramp + f * (1 - ramp);
  });
}

function yarnMagnitude(factor: number, mscale = 1): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
}

function yarnMagnitudeOf(scaling: Scaling): number {
  const { factor, mscale, mscaleAll } = scaling;
  if (scaling.magnitude !== undefined) return scaling.magnitude;
  if (mscale !== undefined && mscaleAll !== undefined)
    return yarnMagnitude(factor, mscale) / yarnMagnitude(factor, mscaleAll);
  return yarnMagnitude(factor);
}
