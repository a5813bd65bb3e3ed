/** What a hostile or clumsy config may say, and the error that names it. */
import assert from "node:assert/strict";
import test from "node:test";
import { TensorMaker } from "../../test/support/memory-artifact.ts";
import type { MetaObject, MetaValue, ModelArtifact } from "../artifact/artifact.ts";
import { ArtifactError, UnsupportedError } from "../errors.ts";
import { ConfigReader } from "./config.ts";
import { layerWindows, readActivation } from "./dimensions.ts";
import { readRope } from "./rope.ts";

function artifactOf(format: "gguf" | "hf", values: MetaObject, divisors?: readonly number[]): ModelArtifact {
  const maker = new TensorMaker(1);
  if (divisors !== undefined) maker.values("rope_freqs.weight", "F32", [divisors.length], divisors);
  const named =
    format === "hf"
      ? values
      : Object.fromEntries(Object.entries(values).map(([key, value]) => [`llama.${key}`, value]));
  return { ...maker.artifact(), name: "bad.gguf", config: { format, architecture: "llama", values: named } };
}

async function rope(format: "gguf" | "hf", values: MetaObject, divisors?: readonly number[]): Promise<Float32Array> {
  const artifact = artifactOf(format, values, divisors);
  const settings = { headDim: 16, style: "half", contextLength: 256, context: 256 } as const;
  return (await readRope(artifact, new ConfigReader(artifact), settings)).frequencies;
}

test("rope settings that turn nothing, or wildly, are named", async () => {
  const scaling = (change: MetaObject): MetaObject => ({
    rope_scaling: { rope_type: "linear", factor: 2, ...change },
  });
  const cases: readonly (readonly ["gguf" | "hf", MetaObject, RegExp, (readonly number[])?])[] = [
    ["gguf", { "rope.dimension_count": 1 }, /rope\.dimension_count.* is 1,/],
    ["gguf", { "rope.dimension_count": 7 }, /rope\.dimension_count.* is 7,/],
    ["gguf", { "rope.freq_base": Number.NaN }, /rope\.freq_base" is NaN/],
    ["gguf", { "rope.freq_base": 0 }, /rope\.freq_base/],
    ["gguf", { "rope.freq_base": 1e-30 }, /rope frequency/],
    ["gguf", { "rope.scaling.type": "linear", "rope.scaling.factor": 1e38 }, /factor/],
    ["gguf", { "rope.scaling.type": "toString", "rope.scaling.factor": 2 }, /rope\.scaling\.type" is "toString"/],
    ["gguf", { "rope.scaling.type": "yarn", "rope.scaling.factor": 2, "rope.scaling.attn_factor": 1e38 }, /attention/],
    ["gguf", {}, /rope_freqs\.weight" holds 0/, [1, 1, 0, 1, 1, 1, 1, 1]],
    ["gguf", {}, /rope_freqs\.weight" holds NaN/, [1, 1, 1, 1, 1, 1, 1, Number.NaN]],
    ["gguf", {}, /rope_freqs\.weight" holds Infinity/, [1, 1, 1, 1, 1, 1, 1, Infinity]],
    ["gguf", {}, /rope frequency/, [1e-30, 1, 1, 1, 1, 1, 1, 1]],
    ["hf", { partial_rotary_factor: 0.01 }, /partial_rotary_factor" is 0,/],
    ["hf", { rope_theta: "1e4" }, /rope_theta" is "1e4"/],
    ["hf", { rope_theta: [10_000, 20_000] }, /rope_theta/],
    ["hf", { rope_parameters: { rope_type: "default", rope_theta: "1e4" } }, /rope_theta" is "1e4"/],
    ["hf", scaling({ factor: 0 }), /factor" is 0/],
    ["hf", scaling({ factor: "8" }), /factor" is "8"/],
    ["hf", scaling({ factor: 1e38 }), /factor/],
    ["hf", scaling({ rope_type: "toString" }), /"toString" is not supported/],
    ["hf", scaling({ rope_type: "yarn", attention_factor: "2" }), /attention_factor" is "2"/],
    ["hf", scaling({ rope_type: 5 }), /rope_type/],
    ["hf", scaling({ rope_type: "longrope", short_factor: [1, 1, 1, 1, 1, 1, 1, 0] }), /short_factor/],
  ];
  for (const [format, values, expected, divisors] of cases) {
    await assert.rejects(
      () => rope(format, values, divisors),
      (error) => {
        assert.ok(error instanceof ArtifactError || error instanceof UnsupportedError, String(error));
        assert.match(error.message, expected);
        if (error instanceof ArtifactError) assert.match(error.message, /bad\.gguf/);
        return true;
      },
      JSON.stringify(values),
    );
  }
  // What stops the turning of a pair is in use.
  assert.equal((await rope("gguf", {}, [1, 1, 1, 1, 1, 1, 1, 1e30])).length, 8);
});

test("names are looked up among our own, not an object's", () => {
  for (const name of ["constructor", "__proto__", "toString", "hasOwnProperty", "silu "]) {
    const config = new ConfigReader(artifactOf("hf", { hidden_act: name }));
    assert.throws(() => readActivation(config, "hidden_act", "silu"), ArtifactError, name);
  }
});

test("lists of layers have the types and length that they should", () => {
  const windows = (values: Record<string, MetaValue>): unknown =>
    layerWindows(new ConfigReader(artifactOf("hf", { sliding_window: 64, ...values })), 2);
  assert.deepEqual(windows({ layer_types: ["sliding_attention", "full_attention"] }), [64, undefined]);
  for (const values of [{ layer_types: "sliding_attention" }, { layer_types: [] }, { max_window_layers: "2" }])
    assert.throws(() => windows(values), ArtifactError, JSON.stringify(values));
});
