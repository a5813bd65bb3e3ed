/** The layouts read again by the readers of checkpoints, which were written apart from this from the layouts' descriptions. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";

import { memorySource } from "../artifact/byte-source.ts";
import { hfArtifact } from "../artifact/hf-artifact.ts";
import { withQuantizedWeights } from "../artifact/quantized/checkpoint.ts";
import { readSafetensors } from "../artifact/safetensors.ts";
import { safetensorsBytes } from "../artifact/safetensors-writer.ts";
import { tensorValues } from "../artifact/tensor-values.ts";
import { createToolkit } from "../backend/cpu/toolkit.ts";
import { type Layout, layoutConfig, layoutTensors } from "./packed.ts";

const CASES: readonly [layout: Layout, bits: number, group: 32 | 64 | 128, symmetric: boolean][] = [
  ["gptq", 4, 128, false],
  ["gptq", 4, 32, true],
  ["gptq", 8, 64, true],
  ["gptq", 2, 64, false],
  ["awq", 4, 64, false],
  ["awq", 4, 128, true],
  ["compressed-tensors", 4, 64, true],
  ["compressed-tensors", 8, 128, true],
];

for (const [layout, bits, group, symmetric] of CASES) {
  test(`${layout}, ${bits} bits in ${group}${symmetric ? ", symmetric" : ""}: read again, the weights are the same`, async () => {
    const [rows, columns] = [48, 256];
    const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * 12.9898) * (1 + (i % 5)) + 0.3);
    const toolkit = await createToolkit({ threads: 1 });
    const grid = { bits, group, symmetric };
    const solved = await toolkit.solve(values, { n: columns }, { grid });
    await toolkit.close();
    const entries = layoutTensors(layout, { ...grid, ...solved, rows, columns }).map(
      ({ part, type, shape, bytes }) => ({
        name: `layer.${part}`,
        type,
        shape,
        source: memorySource(part, bytes),
        offset: 0,
        byteLength: bytes.length,
      }),
    );
    const chunks: Uint8Array[] = [];
    for await (const chunk of safetensorsBytes(entries, {})) chunks.push(chunk);
    const file = await readSafetensors(memorySource("model", Buffer.concat(chunks)));
    const config = JSON.stringify({ model_type: "llama", quantization_config: layoutConfig(layout, grid) });
    const plain = hfArtifact("model", { "config.json": config, "tokenizer.json": "{}" }, [file]);
    const weight = (await withQuantizedWeights(plain, [file])).tensors.get("layer.weight");
    assert.ok(weight !== undefined);
    const read = await tensorValues(weight);
    // What is read may be rounded once more, to the half precision of a float tensor.
    for (const [i, value] of read.entries()) {
      const want = solved.values[i] ?? 0;
      assert.ok(Math.abs(value - want) <= 1e-3 * Math.abs(want) + 1e-7, `${i}: ${value} for ${want}`);
    }
  });
}
