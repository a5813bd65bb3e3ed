import assert from "node:assert/strict";
import { test } from "node:test";

import { fitting, isQuantizable, type MixtureModel, mixtureType } from "./mixtures.ts";

const LLAMA: MixtureModel = {
  architecture: "llama",
  layers: 16,
  headsPerKv: 4,
  experts: 0,
  hasOutput: true,
  hasImportance: false,
};

test("Q4_K_M gives more bits to values and down matrices of the outer layers and every third", () => {
  const layers = Array.from({ length: 16 }, (_, i) => mixtureType("Q4_K_M", `blk.${i}.ffn_down.weight`, 2048, LLAMA));
  const more = layers.flatMap((dtype, i) => (dtype === "Q6_K" ? [i] : []));
  assert.deepEqual(more, [0, 1, 4, 7, 10, 13, 14, 15]);
  assert.equal(mixtureType("Q4_K_M", "blk.2.attn_v.weight", 2048, LLAMA), "Q4_K");
  assert.equal(mixtureType("Q4_K_M", "blk.4.attn_v.weight", 2048, LLAMA), "Q6_K");
  assert.equal(mixtureType("Q4_K_M", "blk.4.attn_q.weight", 2048, LLAMA), "Q4_K");
});

test("the output matrix has six bits, and so has the embedding that stands for it", () => {
  assert.equal(mixtureType("Q4_K_M", "output.weight", 2048, LLAMA), "Q6_K");
  assert.equal(mixtureType("Q4_K_M", "token_embd.weight", 2048, LLAMA), "Q4_K");
  assert.equal(mixtureType("Q4_K_M", "token_embd.weight", 2048, { ...LLAMA, hasOutput: false }), "Q6_K");
  assert.equal(mixtureType("Q8_0", "output.weight", 2048, LLAMA), "Q8_0");
});

test("rows that are no whole super-blocks fall back as llama.cpp's do", () => {
  assert.equal(fitting("Q4_K", 576), "Q5_0");
  assert.equal(fitting("Q5_K", 576), "Q5_1");
  assert.equal(fitting("Q6_K", 576), "Q8_0");
  assert.equal(fitting("Q2_K", 576), "IQ4_NL");
  assert.equal(fitting("TQ1_0", 576), "Q4_0");
  assert.equal(fitting("Q4_K", 100), "F16");
  assert.equal(mixtureType("Q4_K_M", "output.weight", 576, LLAMA), "Q8_0");
});

test("what isn't a matrix of a linear stays", () => {
  const shape = [64, 64];
  assert.ok(isQuantizable({ name: "blk.0.attn_q.weight", shape }));
  assert.ok(isQuantizable({ name: "blk.0.ffn_down_exps.weight", shape: [4, 64, 64] }));
  for (const name of [
    "blk.0.attn_norm.weight",
    "blk.0.ffn_gate_inp.weight",
    "position_embd.weight",
    "blk.0.ssm_conv1d.weight",
  ])
    assert.ok(!isQuantizable({ name, shape }), name);
  assert.ok(!isQuantizable({ name: "blk.0.attn_q.bias", shape }));
  assert.ok(!isQuantizable({ name: "output_norm.weight", shape: [64] }));
});
