/**
 * Quantised checkpoints against the fixtures of recipes/fixtures/checkpoints.py: the weights are those of the formats' own
 * descriptions, to the bit, in the format that is said; whole, by rows and by pieces.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import test from "node:test";
import { Random } from "../../../test/support/random.ts";
import { ArtifactError, UnsupportedError } from "../../errors.ts";
import type { MetaObject, ModelArtifact, Tensor } from "../artifact.ts";
import { memorySource } from "../byte-source.ts";
import { DTYPES } from "../dtype.ts";
import { hfArtifact } from "../hf-artifact.ts";
import { readSafetensors } from "../safetensors.ts";
import { tensorValues } from "../tensor-values.ts";
import { withQuantizedWeights } from "./checkpoint.ts";

const FOLDER = new URL("../../../test/fixtures/checkpoints/", import.meta.url);
interface Case {
  readonly config: MetaObject;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly sha256: string;
}
const CASES = JSON.parse(readFileSync(new URL("cases.json", FOLDER), "utf8")) as Record<string, Case>;

async function open(name: string, quantization?: MetaObject): Promise<ModelArtifact> {
  const file = await readSafetensors(memorySource(name, readFileSync(new URL(`${name}.safetensors`, FOLDER))));
  const config = { model_type: "llama", ...(quantization && { quantization_config: quantization }) };
  const artifact = hfArtifact(name, { "config.json": JSON.stringify(config), "tokenizer.json": "{}" }, [file]);
  return withQuantizedWeights(artifact, [file]);
}

async function weightOf(name: string, changes: MetaObject = {}): Promise<Tensor> {
  const { tensors } = await open(name, { ...CASES[name]?.config, ...changes });
  const [[weight, tensor] = [], ...more] = tensors;
  assert.deepEqual(more, []);
  // A stack of experts is called as it is.
  assert.equal(weight, tensor?.shape.length === 3 ? "layer.w" : "layer.weight");
  return tensor ?? assert.fail();
}

/** Without the sign of zeros, which a code has no room for. */
function hashOf(values: Float32Array): string {
  return createHash("sha256")
    .update(new Uint8Array(values.map((value) => value + 0).buffer))
    .digest("hex");
}

for (const [name, { shape, dtype, sha256 }] of Object.entries(CASES)) {
  test(`${name}: the weights are the format's own, as ${dtype}`, async () => {
    const weight = await weightOf(name);
    assert.equal(weight.dtype, dtype);
    assert.deepEqual(weight.shape, shape);
    const [columns = 0, ...outer] = shape.toReversed();
    const rows = outer.reduce((product, n) => product * n, 1);
    const { blockSize, blockBytes } = DTYPES[weight.dtype];
    assert.equal(weight.byteLength, ((rows * columns) / blockSize) * blockBytes);
    const all = await tensorValues(weight);
    assert.equal(hashOf(all), sha256);
    // From the middle of a row into another.
    const start = 3 * columns + columns / 2;
    assert.deepEqual(await tensorValues(weight, start, columns), all.slice(start, start + columns));
  });
}

test("GPTQ's second format keeps zeros as they are", async () => {
  const [v1, v2] = [await weightOf("gptq-8"), await weightOf("gptq-8", { checkpoint_format: "gptq_v2" })];
  const [a, b] = [await tensorValues(v1), await tensorValues(v2)];
  assert.notDeepEqual(a, b);
});

test("what isn't known is refused by name", async () => {
  await assert.rejects(open("awq", { quant_method: "hqq" }), /quant_method is "hqq".*gptq, awq/);
  await assert.rejects(weightOf("awq", { version: "gemv" }), /version "gemv"/);
  await assert.rejects(weightOf("gptq-4", { bits: 5 }), /5 bits/);
  await assert.rejects(open("ct-fp8"), /type F8_E4M3, and config.json has no quantization_config/);
  await assert.rejects(
    open("bnb-int8", CASES["fp8-blocks"]?.config ?? {}),
    /"layer.weight" has type I8, which quant_method "fp8"/,
  );
});

test("parts that don't fit are told", async () => {
  // The same file, read as what it isn't.
  await assert.rejects(open("gptq-4", { quant_method: "awq", bits: 4 }), /has the shape/);
  await assert.rejects(open("ct-w8a8", { quant_method: "fbgemm_fp8" }), /"layer.weight" is I8, expected F8_E4M3/);
  await assert.rejects(weightOf("fp8-blocks", { weight_block_size: [128, 128] }), /has scales of the shape/);
});

test("damaged checkpoints are refused, or read as what they say", async () => {
  const random = new Random(5);
  let refused = 0;
  for (const [name, { config }] of Object.entries(CASES)) {
    const good = readFileSync(new URL(`${name}.safetensors`, FOLDER));
    const header = 8 + Number(good.readBigUInt64LE(0));
    const text = good.toString("latin1", 8, header);
    for (let round = 0; round < 30; round++) {
      // A digit of a shape, a type, a name: the data stays.
      const digits = [...text.matchAll(/[\dIUFB]/g)].map(({ index }) => index);
      const at = digits[random.below(digits.length)] ?? 0;
      const damaged = Buffer.from(good);
      damaged[8 + at] = "0123456789UIF".charCodeAt(random.below(13));
      const settings = { ...config, ...(random.below(3) === 0 && { bits: random.pick([2, 3, 4, 8, -1]) }) };
      try {
        const file = await readSafetensors(memorySource(name, damaged));
        const texts = { "config.json": JSON.stringify({ model_type: "llama", quantization_config: settings }) };
        const artifact = hfArtifact(name, { ...texts, "tokenizer.json": "{}" }, [file]);
        const { tensors } = await withQuantizedWeights(artifact, [file]);
        for (const tensor of tensors.values()) await tensorValues(tensor);
      } catch (error) {
        if (!(error instanceof ArtifactError || error instanceof UnsupportedError)) throw error;
        refused += 1;
      }
    }
  }
  assert.ok(refused > 100);
});
